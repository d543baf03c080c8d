"""The seam of every model: one request in, one completion out."""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from overnight.domain.conversation import Completion, Request

OnDelta = Callable[[str], None]
OnWaiting = Callable[[str], None]
OnLimit = Callable[[str, str], None]


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can do, as data. Prices are US dollars per million tokens."""

    name: str
    context_tokens: int = 128_000
    max_output_tokens: int = 8_192
    tool_calls: bool = True
    images: bool = False
    """Whether it looks at pictures."""
    edit_format: Literal["patch", "replace", "whole"] = "patch"
    """The form in which it edits files best: `apply_patch`, search and replace, or whole files."""
    agent: Literal["loop", "repair"] = "loop"
    """The agent that suits the model when nobody chose one."""
    parallel: int = 4
    """Requests of one attempt that are worth sending at the same time."""
    input_price: float = 0.0
    cached_price: float = 0.0
    output_price: float = 0.0


class Model(Protocol):
    """A language model. Safe to share by several attempts of one process."""

    name: str
    """As the user wrote it: `provider:name`."""
    profile: ModelProfile

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Return the answer to `request`; retries what is worth retrying, telling `on_waiting` why.

        `on_reasoning` gets what the model thinks as it comes, `on_limit` the name and detail of a limit.

        Raises:
            ModelUnavailableError: the model could not be reached for too long.
            ContextOverflowError: the request does not fit the context window.
            CredentialError: the key is missing or refused.
            ModelError: any other failure.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
