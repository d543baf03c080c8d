"""Any model of a provider, through pydantic-ai's model classes: one request, asked again where that helps."""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from overnight.domain.conversation import Completion, Request
from overnight.domain.errors import ModelError, ModelUnavailableError
from overnight.models.interface import ModelProfile, OnDelta, OnLimit, OnWaiting
from overnight.models.provider_errors import Pause, judge
from overnight.models.provider_wire import to_completion, to_messages, to_parameters, to_settings

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai.messages import ModelResponse, ModelResponseStreamEvent
    from pydantic_ai.models import Model as LibraryModel

TRIES = 7
SILENT_TRIES = 3
"""So often a model may send nothing for the time of its limit before it counts as unavailable."""
EMPTY_TRIES = 3
FIRST_WAIT_SECONDS = 1.0
LONGEST_STEP_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 300.0
"""A provider that asks for more patience is not available."""


class _EmptyAnswerError(Exception):
    """The model said nothing at all."""

    def __init__(self, completion: Completion) -> None:
        super().__init__("the answer is empty")
        self.completion = completion


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

        When a stream breaks, `on_delta` and `on_reasoning` get the next answer from its beginning. An answer
        that is empty time and again is an error, unless results of tools came before it: so some models end.

        Raises:
            CredentialError: the key is refused.
            ContextOverflowError: the request does not fit.
            QuotaError: the account's quota is used up.
            ModelUnavailableError: the provider does not answer after all tries, or wants too much patience.
            ModelError: the provider refuses the request.
        """
        tries = _Tries(self.name, self._first_wait)
        while True:
            try:
                return await self._ask(request, on_delta, on_reasoning)
            except _EmptyAnswerError as error:
                if tries.empty + 1 >= EMPTY_TRIES:
                    if request.messages[-1].role == "tool":
                        return error.completion
                    raise ModelError(f"{self.name} answers nothing.", "Try another model.") from None
                pause = tries.after_empty()
            except Exception as error:
                pause = tries.after(self._judge(error), request.silence_seconds, on_limit)
            if on_waiting is not None:
                on_waiting(f"{self.name}: {tries.reason}; asking again in {pause:.0f} s")
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    def _judge(self, error: Exception) -> Pause:
        from pydantic_ai.exceptions import ModelAPIError, UnexpectedModelBehavior

        if isinstance(error, ModelAPIError):
            return judge(error, self.name, self._key_name)
        if isinstance(error, UnexpectedModelBehavior):
            # A stream that ends too soon, or an answer that is no answer.
            return Pause(reason=" ".join(error.message.split())[:300])
        raise error

    async def _ask(
        self, request: Request, on_delta: OnDelta | None, on_reasoning: OnDelta | None
    ) -> Completion:
        from pydantic_ai.direct import model_request_stream
        from pydantic_ai.exceptions import UnexpectedModelBehavior

        async with model_request_stream(
            self._model,
            to_messages(request, self.name),
            model_settings=to_settings(request, self.profile),
            model_request_parameters=to_parameters(request),
        ) as stream:
            async for event in stream:
                _tell(event, on_delta, on_reasoning)
            response = stream.get()
        # Where the provider never said why it ended, the library says `stop`; only the details tell.
        if response.state != "complete" or "finish_reason" not in (response.provider_details or {}):
            raise UnexpectedModelBehavior("the answer broke off")
        return self._completion(response)

    def _completion(self, response: "ModelResponse") -> Completion:
        completion = to_completion(response, self.name, self.profile)
        if response.finish_reason == "content_filter" and not completion.tool_calls:
            said = completion.text or (response.provider_details or {}).get("refusal", "")
            raise ModelError(
                f"{self.name} refused to answer. {said}".strip()[:500], "Put the task in other words."
            )
        if not completion.text.strip() and not completion.tool_calls and completion.finish == "stop":
            raise _EmptyAnswerError(msgspec.structs.replace(completion, text=""))
        return completion


class _Tries:
    """Counts the tries of one request and says how long to wait before the next."""

    def __init__(self, name: str, first_wait: float) -> None:
        self.reason = ""
        self.empty = 0
        self._name = name
        self._wait = first_wait
        self._made = 0
        self._silent = 0

    def after_empty(self) -> float:
        """Return the seconds to wait after an empty answer."""
        self.empty += 1
        self.reason = "the answer is empty"
        return self._next()

    def after(self, pause: Pause, silence_seconds: float, on_limit: OnLimit | None) -> float:
        """Return the seconds to wait after a failure.

        Raises:
            ModelUnavailableError: it is not worth another try.
        """
        self._made += 1
        self.reason = pause.reason
        if pause.silent:
            self._silent += 1
            self.reason = f"nothing came for {silence_seconds:g} s (limit model_silence_seconds)"
            if on_limit is not None:
                on_limit("model_silence_seconds", f"{self._name}: nothing came for {silence_seconds:g} s")
        if pause.seconds is not None and pause.seconds > LONGEST_WAIT_SECONDS:
            raise self._unavailable(f"{self.reason}; it asks to wait {pause.seconds:.0f} s")
        if self._made >= TRIES or self._silent >= SILENT_TRIES:
            raise self._unavailable(self.reason)
        wait = self._next()
        return wait if pause.seconds is None else pause.seconds

    def _next(self) -> float:
        wait = self._wait
        self._wait = min(wait * 2, LONGEST_STEP_SECONDS)
        return wait

    def _unavailable(self, reason: str) -> ModelUnavailableError:
        return ModelUnavailableError(f"{self._name} does not answer: {reason}.", "Try again later.")


def _tell(event: "ModelResponseStreamEvent", on_delta: OnDelta | None, on_reasoning: OnDelta | None) -> None:
    """Pass the text of one event of the stream on."""
    from pydantic_ai.messages import (
        PartDeltaEvent,
        PartStartEvent,
        TextPart,
        TextPartDelta,
        ThinkingPart,
        ThinkingPartDelta,
    )

    text, listener = "", on_delta
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart | ThinkingPart):
        text = event.part.content
        listener = on_delta if isinstance(event.part, TextPart) else on_reasoning
    elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        text = event.delta.content_delta
    elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, ThinkingPartDelta):
        text, listener = event.delta.content_delta or "", on_reasoning
    if text and listener is not None:
        listener(text)
