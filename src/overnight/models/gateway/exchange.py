"""One HTTP exchange of the gateway: a request read in its dialect, answered as a stream or whole."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from overnight.domain.conversation import Completion
from overnight.domain.errors import (
    ContextOverflowError,
    CredentialError,
    LimitError,
    ModelUnavailableError,
    OvernightError,
)
from overnight.models.gateway.chat import Chat
from overnight.models.gateway.dialect import (
    Asked,
    Dialect,
    Failure,
    FailureKind,
    UnreadableError,
    Writer,
    check_shape,
    encode,
)
from overnight.models.gateway.google import Google
from overnight.models.gateway.messages import Messages
from overnight.models.gateway.responses import Responses
from overnight.models.interface import OnDelta

Answer = Callable[[Asked, OnDelta], Awaitable[Completion]]
"""Answers what a CLI asked; told of the text as it comes. Raises what a `Model` raises, and `LimitError`."""
Send = Callable[[bytes], Awaitable[None]]
"""Sends a piece of a body; the first one sends the head before it."""

WAITING_SECONDS = 10.0
"""After so long without a word something is sent that says nothing, so that nobody takes us for dead."""
JSON, EVENTS = "application/json", "text/event-stream"
CHARACTERS_PER_TOKEN = 4

COUNTING = ("/count_tokens", ":countTokens")
DIALECTS: tuple[tuple[str, Dialect], ...] = (
    ("/chat/completions", Chat()),
    ("/responses", Responses()),
    ("/messages", Messages()),
    (":generateContent", Google(stream=False)),
    (":streamGenerateContent", Google(stream=True)),
)
"""By the end of the path: CLIs put their own prefix before it."""


class Head(msgspec.Struct, frozen=True):
    """Status and type of a response, which are settled with the first byte of its body."""

    status: int
    kind: str


Begin = Callable[[Head], Awaitable[None]]


def dialect_of(path: str) -> Dialect | None:
    """Return the dialect that is spoken at a path."""
    return next((dialect for end, dialect in DIALECTS if path.endswith(end)), None)


async def converse(
    dialect: Dialect, body: bytes, number: int, answer: Answer, begin: Begin, send: Send
) -> None:
    """Answer one request; `begin` and `send` put the response on the wire."""
    try:
        asked = dialect.read(body)
        check_shape(asked.request)
    except (UnreadableError, RecursionError) as error:
        await _refuse(dialect, Failure("unreadable", str(error)), begin, send)
        return
    writer = dialect.writer(asked, number)
    pieces: asyncio.Queue[str] = asyncio.Queue()
    working = asyncio.ensure_future(answer(asked, pieces.put_nowait))
    stream = _Stream(writer, dialect.waiting, begin, send) if asked.stream else _Whole(writer, begin, send)
    try:
        await _follow(working, pieces, stream)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    failure = None if working.cancelled() else _failure(working.exception())
    if failure is None:
        await stream.end(working.result())
    elif stream.begun:
        await stream.fail(failure)
    else:
        await _refuse(dialect, failure, begin, send)


async def _follow(
    working: asyncio.Future[Completion], pieces: asyncio.Queue[str], stream: "_Stream | _Whole"
) -> None:
    """Pass the text on as it comes, until the answer stands or failed."""
    while not working.done() or not pieces.empty():
        getting = asyncio.ensure_future(pieces.get())
        try:
            await asyncio.wait(
                (working, getting), timeout=WAITING_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if getting.done():
                await stream.delta(getting.result())
            elif not working.done():
                await stream.wait()
        finally:
            getting.cancel()


class _Stream:
    """A response of server-sent events."""

    def __init__(self, writer: Writer, waiting: bytes, begin: Begin, send: Send) -> None:
        self._writer, self._waiting, self._begin, self._send = writer, waiting, begin, send
        self.begun = False
        self._spoken = False

    async def _start(self) -> None:
        if not self.begun:
            self.begun = True
            await self._begin(Head(200, EVENTS))
            await self._send(self._writer.opening())

    async def delta(self, text: str) -> None:
        if text:
            await self._start()
            self._spoken = True
            await self._send(self._writer.delta(text))

    async def wait(self) -> None:
        await self._start()
        await self._send(self._waiting)

    async def end(self, completion: Completion) -> None:
        if completion.text and not self._spoken:
            await self.delta(completion.text)  # a model that does not stream
        await self._start()
        await self._send(self._writer.closing(completion))

    async def fail(self, failure: Failure) -> None:
        await self._send(self._writer.failed(failure))


class _Whole:
    """A response of one JSON document; blanks before it are part of no value (RFC 8259, section 2)."""

    def __init__(self, writer: Writer, begin: Begin, send: Send) -> None:
        self._writer, self._begin, self._send = writer, begin, send
        self.begun = False

    async def delta(self, text: str) -> None:
        del text

    async def wait(self) -> None:
        if not self.begun:
            self.begun = True
            await self._begin(Head(200, JSON))
        await self._send(b" ")

    async def end(self, completion: Completion) -> None:
        if not self.begun:
            await self._begin(Head(200, JSON))
        await self._send(self._writer.whole(completion))

    async def fail(self, failure: Failure) -> None:
        raise ConnectionAbortedError(failure.message)  # too late for another status: break it off


async def _refuse(dialect: Dialect, failure: Failure, begin: Begin, send: Send) -> None:
    status, body = dialect.refusal(failure)
    await begin(Head(status, JSON))
    await send(body)


def _failure(error: BaseException | None) -> Failure | None:
    kinds: tuple[tuple[type[OvernightError], FailureKind], ...] = (
        (ContextOverflowError, "overflow"),
        (CredentialError, "credential"),
        (LimitError, "limit"),
        (ModelUnavailableError, "unavailable"),
    )
    if error is None:
        return None
    message = (
        error.message if isinstance(error, OvernightError) else f"internal error: {type(error).__name__}"
    )
    for wanted, kind in kinds:
        if isinstance(error, wanted):
            return Failure(kind, message)
    return Failure("failed", message)


def count_tokens(body: bytes) -> bytes:
    """Answer Anthropic's and Google's way of counting with an estimate: nobody can count for every model."""
    tokens = len(body) // CHARACTERS_PER_TOKEN + 1
    return encode({"input_tokens": tokens, "totalTokens": tokens})


def listing(model: str) -> bytes:
    """Answer `GET /v1/models` with the one model that there is, in a form that both kinds of clients read."""
    entry = {"id": model, "object": "model", "type": "model", "created": 0, "owned_by": "overnight",
             "display_name": model, "created_at": "1970-01-01T00:00:00Z"}  # fmt: skip
    return encode({"object": "list", "data": [entry], "has_more": False, "first_id": model, "last_id": model})
