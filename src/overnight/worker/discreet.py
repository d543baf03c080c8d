"""A model, a display and errors that never see a secret: all pass the same search as what is kept."""

import contextlib
from collections.abc import Generator

import msgspec

from overnight.blobs.store import BlobStore
from overnight.domain.conversation import Completion, Message, Request, ToolSpec
from overnight.domain.errors import OvernightError, SecretError
from overnight.domain.events import Event
from overnight.domain.ports import EventSink, Redaction
from overnight.models.interface import Model, OnDelta, OnLimit, OnWaiting


class DiscreetModel:
    """Another model behind a redaction; whoever runs that one reads no value of ours in a prompt."""

    def __init__(self, model: Model, redaction: Redaction) -> None:
        self.name = model.name
        self.profile = model.profile
        self._model = model
        self._redaction = redaction
        self._messages: dict[Message, Message] = {}
        """Those of the last request, and what was sent in their place."""
        self._tools: tuple[tuple[ToolSpec, ...], tuple[ToolSpec, ...]] = ((), ())

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Return the answer to the redacted request; raises what the model raises."""
        return await self._model.complete(
            self._redacted(request), on_delta, on_waiting, on_reasoning, on_limit
        )

    def _redacted(self, request: Request) -> Request:
        """Return the request without values; what the last one held as well is not searched again."""
        if request.tools is not self._tools[0]:
            self._tools = (request.tools, self._redaction.value(request.tools))
        messages = {
            message: self._messages.get(message) or self._redaction.value(message)
            for message in request.messages
        }
        self._messages = messages
        rest = self._redaction.value(msgspec.structs.replace(request, messages=(), tools=()))
        return msgspec.structs.replace(
            rest, messages=tuple(messages[message] for message in request.messages), tools=self._tools[1]
        )

    async def close(self) -> None:
        """Leave the model open: it belongs to the process, not to the attempt."""


class DiscreetArtifacts:
    """A store behind a redaction: texts are kept without the values, and other things not at all."""

    def __init__(self, blobs: BlobStore, redaction: Redaction) -> None:
        self._blobs = blobs
        self._redaction = redaction

    def put(self, content: bytes) -> str:
        """Keep `content` and return its digest.

        Raises:
            SecretError: it is no text, and holds a value.
        """
        try:
            content = self._redaction.clean(content.decode()).encode()
        except UnicodeDecodeError:
            name = self._redaction.found_in(content)
            if name is not None:
                raise SecretError(f"The value of the secret {name} stands in it: it is not kept.") from None
        return self._blobs.put(content)

    def get(self, digest: str) -> bytes:
        """Return what was kept.

        Raises:
            NotFoundError: it is not there any more.
        """
        return self._blobs.get(digest)


class DiscreetEvents:
    """An event sink behind a redaction, for work that has no log to do that."""

    def __init__(self, events: EventSink, redaction: Redaction) -> None:
        self._events = events
        self._redaction = redaction

    def emit(self, event: Event) -> None:
        """Pass on what of the event may be shown."""
        for shown in self._redaction.event(event):
            self._events.emit(shown)

    async def flush(self) -> None:
        """Return when everything emitted is where it goes."""
        await self._events.flush()


@contextlib.contextmanager
def discreet_errors(redaction: Redaction) -> Generator[None]:
    """Take secrets out of the errors of the body: they repeat what a command printed."""
    try:
        yield
    except OvernightError as error:
        error.message, error.hint = redaction.clean(error.message), redaction.clean(error.hint)
        error.args = (error.message,)
        raise
