"""What the wire formats have in common: a request read, and an answer written whole or as a stream."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeVar, cast

import msgspec

from overnight.domain.conversation import Completion, Message, Native, Request, ToolSpec

IMAGE_LEFT_OUT = "[an image, which was not passed on]"
FREEFORM = "input"
"""The one parameter of a tool whose argument is free text, where the model takes functions alone."""
FailureKind = Literal["unreadable", "overflow", "credential", "limit", "unavailable", "failed"]
_Read = TypeVar("_Read")


MAX_MESSAGES, MAX_TOOLS, MAX_DEPTH = 20_000, 1_000, 64
"""Of one request. Deeper schemas than this no provider takes."""


class UnreadableError(ValueError):
    """The body is no request of the format that its path says."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the CLI made it."""

    request: Request
    model: str
    """The model's name as the CLI sent it; it is repeated in the answer and decides nothing."""
    stream: bool
    freeform: frozenset[str] = frozenset()
    """Tools whose argument is free text."""


class Failure(msgspec.Struct, frozen=True):
    """Why there is no answer."""

    kind: FailureKind
    message: str


class Writer(Protocol):
    """Writes one answer. What it returns are the bytes of the body, in the order of the calls."""

    def whole(self, completion: Completion) -> bytes:
        """Return the answer as one JSON document."""
        ...

    def opening(self) -> bytes:
        """Return the begin of a stream."""
        ...

    def delta(self, text: str) -> bytes:
        """Return the next piece of the answer's text."""
        ...

    def closing(self, completion: Completion) -> bytes:
        """Return what was not streamed yet, calls and usage, and the end."""
        ...

    def failed(self, failure: Failure) -> bytes:
        """Return the end of a stream that fails."""
        ...


class Dialect(Protocol):
    """One wire format."""

    waiting: bytes
    """What keeps a stream alive and says nothing."""

    def read(self, body: bytes) -> Asked:
        """Return what is asked.

        Raises:
            UnreadableError: it is no such request.
        """
        ...

    def writer(self, asked: Asked, number: int) -> Writer:
        """Return who writes the answer to request `number` of this gateway."""
        ...

    def refusal(self, failure: Failure) -> tuple[int, bytes]:
        """Return status and body of an answer that is none."""
        ...


STATUS: Mapping[str, int] = {
    "unreadable": 400,
    "overflow": 400,
    "credential": 401,
    "limit": 403,
    "unavailable": 503,
    "failed": 502,
}


def decode(body: bytes, wanted: type[_Read]) -> _Read:
    """Return a JSON body as `wanted`; fields that we do not know are left out.

    Raises:
        UnreadableError: it is none.
    """
    try:
        return msgspec.json.decode(body, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"not a request: {error}") from None


def check_shape(request: Request) -> None:
    """Refuse what only somebody sends who wants to see us labour.

    Raises:
        UnreadableError: there are too many messages or tools, or a schema is nested too deep.
    """
    if len(request.messages) > MAX_MESSAGES:
        raise UnreadableError(f"more than {MAX_MESSAGES} messages")
    if len(request.tools) > MAX_TOOLS:
        raise UnreadableError(f"more than {MAX_TOOLS} tools")
    if any(_deeper(tool.parameters, MAX_DEPTH) for tool in request.tools):
        raise UnreadableError(f"a schema is nested deeper than {MAX_DEPTH}")


def _deeper(value: Any, most: int) -> bool:
    if isinstance(value, Mapping):
        value = list(cast("Mapping[str, Any]", value).values())
    if not isinstance(value, list):
        return False
    return most == 0 or any(_deeper(one, most - 1) for one in cast("list[Any]", value))


def encode(value: Any) -> bytes:
    """Return JSON."""
    return msgspec.json.encode(value)


def event(value: Mapping[str, Any], name: str = "") -> bytes:
    """Return a server-sent event (HTML standard, section 9.2) with a JSON document."""
    head = f"event: {name}\n".encode() if name else b""
    return b"%bdata: %b\n\n" % (head, encode(value))


class Part(msgspec.Struct):
    """A piece of a message's content, of any kind; `type` says which fields count."""

    type: str
    text: str = ""


def text_of(content: str | Iterable[Part] | None) -> str:
    """Return the text of a message's content; an image is named, other kinds are left out."""
    if content is None or isinstance(content, str):
        return content or ""
    pieces: list[str] = []
    for part in content:
        if part.text:
            pieces.append(part.text)
        elif "image" in part.type:
            pieces.append(IMAGE_LEFT_OUT)
    return "\n".join(pieces)


def freeform_tool(name: str, description: str) -> ToolSpec:
    """Return a function that stands for a tool whose argument is free text."""
    schema = {"type": "object", "properties": {FREEFORM: {"type": "string"}}, "required": [FREEFORM]}
    return ToolSpec(name=name, description=description, parameters=schema)


def freeform_argument(arguments: str) -> str:
    """Return the free text of a call; a model that wrote the text itself instead of JSON is understood."""
    try:
        value = msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return arguments
    return str(value.get(FREEFORM, arguments))


class Memory:
    """Gives an answer that a CLI repeats its native form back, which the CLI never saw."""

    def __init__(self) -> None:
        self._native: dict[bytes, Native] = {}

    def keep(self, message: Message) -> None:
        """Remember an answer."""
        if message.native is not None:
            self._native[_digest(message)] = message.native

    def restored(self, request: Request) -> Request:
        """Return the request with the native forms that are known of its assistant messages."""
        if not self._native:
            return request
        messages = tuple(
            msgspec.structs.replace(message, native=self._native.get(_digest(message)))
            if message.role == "assistant"
            else message
            for message in request.messages
        )
        return msgspec.structs.replace(request, messages=messages)


def _digest(message: Message) -> bytes:
    calls = [(call.id, call.name) for call in message.tool_calls]
    return hashlib.sha256(msgspec.msgpack.encode((message.text.strip(), calls))).digest()
