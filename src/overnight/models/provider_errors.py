"""What an error of a provider means: ours where asking again is no use, else how long to wait."""

import re
from typing import TYPE_CHECKING, Any

import msgspec

from overnight.domain.errors import ContextOverflowError, CredentialError, ModelError, QuotaError

if TYPE_CHECKING:
    from pydantic_ai.exceptions import ModelAPIError

_OVERFLOW = re.compile(
    # OpenAI, OpenRouter, vLLM; vLLM (newer); Anthropic; Google; llama.cpp; Ollama; LM Studio.
    r"maximum context length|longer than the maximum model length|prompt is too long"
    r"|input token count .*exceeds|exceeds? the (available|model'?s?|maximum)? ?context (size|length|window)"
    r"|exceed_context_size_error|input length exceeds the context length"
    r"|greater than (the )?context length|context (length|window) exceeded",
    re.IGNORECASE,
)
"""How providers say that a request does not fit, where the library that we use does not know it."""
_WORDS = 300
"""Characters of a provider's words that are repeated."""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Asking again may help. `seconds` is what the provider wants us to wait, None if it does not say."""

    reason: str
    seconds: float | None = None
    silent: bool = False
    """Nothing came for too long."""


def judge(error: "ModelAPIError", name: str, key_name: str) -> Pause:
    """Return why to ask again, and when.

    Raises:
        ContextOverflowError: the request does not fit.
        CredentialError: the key is refused.
        QuotaError: the account's quota is used up.
        ModelError: the provider refuses the request for another reason.
    """
    from pydantic_ai import exceptions as library

    words = words_of(error)
    if isinstance(error, library.ModelContextWindowExceededError) or _OVERFLOW.search(
        f"{words} {error.body}"
    ):
        raise ContextOverflowError(
            f"The request does not fit {name}: {words}.", "Show the model less at a time."
        ) from error
    if isinstance(error, library.ModelAuthenticationError):
        hint = f"Check {key_name}." if key_name else ""
        raise CredentialError(f"{name} refuses the key: {words}.", hint) from error
    if isinstance(error, library.ModelQuotaExceededError):
        raise QuotaError(f"{name}: {words}.", "The account's quota is used up.") from error
    if isinstance(error, library.ModelRequestRejectedError):
        raise ModelError(f"{name} refused the request: {words}.") from error
    silent = isinstance(error, library.ModelTimeoutError) and error.phase in (None, "read")
    return Pause(reason=words, seconds=error.retry_after, silent=silent)


def words_of(error: "ModelAPIError") -> str:
    """Return a provider's error in one line."""
    from pydantic_ai.exceptions import ModelHTTPError

    body: Any = error.body
    inner: Any = body.get("error", body) if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    said: Any = inner.get("message", "") if isinstance(inner, dict) else inner  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(error, ModelHTTPError):
        text = said if isinstance(said, str) and said else "no reason given"
        return f"{' '.join(text.split())[:_WORDS]} ({error.status_code})"
    text = said if isinstance(said, str) and said else error.message
    return " ".join(text.split())[:_WORDS]
