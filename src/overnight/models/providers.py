"""Any model of a provider, through pydantic-ai's model classes: one request, retried where that helps."""

import asyncio
import importlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from overnight.domain.conversation import Completion, Request
from overnight.domain.errors import (
    ContextOverflowError,
    CredentialError,
    ModelError,
    ModelUnavailableError,
    UsageError,
)
from overnight.models.catalog import Provider
from overnight.models.interface import ModelProfile, OnDelta, OnLimit, OnWaiting
from overnight.models.provider_prices import priced_profile
from overnight.models.provider_wire import to_completion, to_messages, to_parameters, to_settings

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai.exceptions import ModelAPIError
    from pydantic_ai.models import Model as LibraryModel

TRIES = 7
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
"""A provider that asks for more patience is not available."""
SILENCE_SECONDS = 300.0


class ProviderModel:
    """A provider's model as a `Model`. Safe to share within one event loop."""

    def __init__(
        self,
        name: str,
        profile: ModelProfile,
        model: "LibraryModel[Any]",
        client: "httpx2.AsyncClient",
        key_name: str,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        self.name = name
        self.profile = profile
        self._model = model
        self._client = client
        self._key_name = key_name
        self._first_wait = first_wait_seconds

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Answer `request`, asking again after overload, failures of the server and broken streams.

        When a stream breaks, `on_delta` gets the next answer from its beginning.

        Raises:
            CredentialError: the key is refused.
            ContextOverflowError: the request does not fit.
            ModelUnavailableError: the provider does not answer after all tries.
            ModelError: the provider refuses the request.
        """
        from pydantic_ai.exceptions import ModelAPIError, UnexpectedModelBehavior

        wait = self._first_wait
        reason = ""
        for number in range(1, TRIES + 1):
            try:
                return await self._ask(request, on_delta)
            except ModelAPIError as error:
                asked = self._retry_after(error)
                reason = _words(error)
            except UnexpectedModelBehavior as error:
                # A stream that ends too soon, or an answer that is no answer.
                asked, reason = None, error.message
            if number == TRIES:
                break
            pause = wait if asked is None else asked
            if pause > LONGEST_WAIT_SECONDS:
                reason += f"; it asks to wait {pause:.0f} s"
                break
            if on_waiting is not None:
                on_waiting(f"{self.name}: {reason}; asking again in {pause:.0f} s")
            await asyncio.sleep(pause)
            wait = min(wait * 2, 60.0)
        raise ModelUnavailableError(f"{self.name} does not answer: {reason}.", "Try again later.")

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def _ask(self, request: Request, on_delta: OnDelta | None) -> Completion:
        from pydantic_ai.direct import model_request_stream
        from pydantic_ai.exceptions import UnexpectedModelBehavior
        from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

        async with model_request_stream(
            self._model,
            to_messages(request.messages),
            model_settings=to_settings(request, self.profile, SILENCE_SECONDS),
            model_request_parameters=to_parameters(request),
        ) as stream:
            async for event in stream:
                if on_delta is None:
                    continue
                if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                    if event.part.content:
                        on_delta(event.part.content)
                elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                    on_delta(event.delta.content_delta)
            response = stream.get()
        # Where the provider never said why it ended, the library says `stop`; only the details tell.
        if response.state != "complete" or "finish_reason" not in (response.provider_details or {}):
            raise UnexpectedModelBehavior("the answer broke off")
        return to_completion(response, self.name, self.profile)

    def _retry_after(self, error: "ModelAPIError") -> float | None:
        """Return the seconds that the provider asked for, if any; raises what is not worth another try."""
        from pydantic_ai import exceptions as library

        if isinstance(error, library.ModelContextWindowExceededError):
            raise ContextOverflowError(
                f"The request does not fit {self.name}: {_words(error)}.", "Show the model less at a time."
            ) from error
        if isinstance(error, library.ModelAuthenticationError):
            raise CredentialError(
                f"{self.name} refuses the key: {_words(error)}.",
                f"Check {self._key_name}." if self._key_name else "",
            ) from error
        if isinstance(error, library.ModelQuotaExceededError):
            raise ModelError(f"{self.name}: {_words(error)}.", "The account's quota is used up.") from error
        if isinstance(error, library.ModelRequestRejectedError):
            raise ModelError(f"{self.name} refused the request: {_words(error)}.") from error
        return error.retry_after


def open_provider(provider: Provider, name: str, keys: Mapping[str, str]) -> ProviderModel:
    """Return the model `name` of a provider; `keys` holds variables such as OPENAI_API_KEY.

    Raises:
        UsageError: the extra `providers` is not installed, or no base URL is known.
        CredentialError: the provider's key is not set.
    """
    try:
        import httpx2

        importlib.import_module("pydantic_ai.models.openai")
    except ImportError as error:
        raise UsageError(
            f"The libraries for {provider.name} are not installed.",
            "In Overnight's source folder, run: pip install '.[providers]'",
        ) from error
    key_name = next((key for key in provider.keys if keys.get(key)), "")
    if not key_name and not provider.key_optional:
        raise CredentialError(
            f"{provider.name} needs a key and none is set.", f"Set {' or '.join(provider.keys)}."
        )
    base_url = keys.get(provider.base_url_key, "") or provider.base_url
    if not base_url and provider.name == "openai-compatible":
        raise UsageError("No address is known for openai-compatible.", f"Set {provider.base_url_key}.")
    # Models that choose their own temperature: the library drops ours, which is all that can be done.
    warnings.filterwarnings("ignore", message="Sampling parameters", category=UserWarning)
    client = httpx2.AsyncClient(timeout=SILENCE_SECONDS, follow_redirects=True)
    model = _library_model(provider, name, keys.get(key_name, "") or "none", base_url or None, client)
    spec = f"{provider.name}:{name}"
    return ProviderModel(spec, priced_profile(provider, name), model, client, key_name)


def _library_model(
    provider: Provider, name: str, key: str, base_url: str | None, client: "httpx2.AsyncClient"
) -> "LibraryModel[Any]":
    match provider.wire:
        case "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            return AnthropicModel(
                name, provider=AnthropicProvider(api_key=key, base_url=base_url, http_client=client)
            )
        case "google":
            from pydantic_ai.models.google import GoogleModel
            from pydantic_ai.providers.google import GoogleProvider

            return GoogleModel(
                name, provider=GoogleProvider(api_key=key, base_url=base_url, http_client=client)
            )
        case _:
            from pydantic_ai.models.openai import OpenAIChatModel
            from pydantic_ai.providers.openai import OpenAIProvider

            return OpenAIChatModel(
                name, provider=OpenAIProvider(api_key=key, base_url=base_url, http_client=client)
            )


def _words(error: "ModelAPIError") -> str:
    """Return a provider's error in one line."""
    from pydantic_ai.exceptions import ModelHTTPError

    if isinstance(error, ModelHTTPError):
        body: Any = error.body
        inner: Any = body.get("error", body) if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        text = inner.get("message", "") if isinstance(inner, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return f"{text or 'no reason given'} ({error.status_code})"[:300]
    return " ".join(error.message.split())[:300]
