"""Anthropic's Messages, which Claude Code speaks."""

from collections.abc import Iterator
from typing import Any

import msgspec

from overnight.domain.conversation import Completion, Message, Request, ToolCall, ToolSpec
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import (
    IMAGE_LEFT_OUT,
    STATUS,
    Asked,
    Failure,
    Part,
    UnreadableError,
    decode,
    encode,
    event,
    text_of,
)

_KINDS = {
    "unreadable": "invalid_request_error",
    "overflow": "invalid_request_error",
    "credential": "authentication_error",
    "limit": "permission_error",
    "unavailable": "overloaded_error",
    "failed": "api_error",
}
_FINISH = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    content: str | list[Part] | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Block]


class _Tool(msgspec.Struct):
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class _Body(msgspec.Struct):
    messages: list[_Message]
    model: str = ""
    system: str | list[Part] | None = None
    tools: list[_Tool] | None = None
    stream: bool | None = False
    max_tokens: int = 0
    temperature: float | None = None
    stop_sequences: list[str] | None = None


class Messages:
    """`POST /v1/messages`."""

    waiting = event({"type": "ping"}, "ping")

    def read(self, body: bytes) -> Asked:
        """Return what is asked; see `Dialect.read`. Tools that the provider would run itself are left out."""
        read = decode(body, _Body)
        system = text_of(read.system)
        messages = [Message(role="system", text=system)] if system else []
        for message in read.messages:
            messages.extend(_messages(message))
        request = Request(
            messages=tuple(messages),
            tools=tuple(
                ToolSpec(name=tool.name, description=tool.description or "", parameters=tool.input_schema)
                for tool in read.tools or []
                if tool.input_schema is not None
            ),
            temperature=read.temperature or 0.0,
            max_output_tokens=read.max_tokens,
            stop=tuple(read.stop_sequences or ()),
        )
        return Asked(request=request, model=read.model, stream=bool(read.stream))

    def writer(self, asked: Asked, number: int) -> "MessagesWriter":
        """Return who writes the answer."""
        return MessagesWriter(asked, number)

    def refusal(self, failure: Failure) -> tuple[int, bytes]:
        """Return status and body of an answer that is none."""
        status = 529 if failure.kind == "unavailable" else STATUS[failure.kind]
        return status, encode(_error(failure))


class MessagesWriter:
    """Writes a message, or its events."""

    def __init__(self, asked: Asked, number: int) -> None:
        self._model = asked.model
        self._id = f"msg_{number}"
        self._writing = False

    def whole(self, completion: Completion) -> bytes:
        """Return the answer as one JSON document."""
        text = [{"type": "text", "text": completion.text}] if completion.text else []
        calls = [_use(call) | {"input": _input(call)} for call in completion.tool_calls]
        message = self._message(_usage(completion.usage), [*text, *calls], _FINISH[completion.finish])
        return encode(message)

    def opening(self) -> bytes:
        """Return the begin of a stream."""
        message = self._message(_usage(Usage()), [], None)
        return event({"type": "message_start", "message": message}, "message_start")

    def delta(self, text: str) -> bytes:
        """Return the next piece of the answer's text."""
        begin = b"" if self._writing else _begin(0, {"type": "text", "text": ""})
        self._writing = True
        return begin + _delta(0, {"type": "text_delta", "text": text})

    def closing(self, completion: Completion) -> bytes:
        """Return calls, usage, and the end."""
        pieces = [_stop(0)] if self._writing else []
        for index, call in enumerate(completion.tool_calls, start=int(self._writing)):
            pieces.append(_begin(index, _use(call) | {"input": {}}))
            whole = encode(_input(call)).decode()
            pieces.append(_delta(index, {"type": "input_json_delta", "partial_json": whole}))
            pieces.append(_stop(index))
        delta = {"stop_reason": _FINISH[completion.finish], "stop_sequence": None}
        end = {"type": "message_delta", "delta": delta, "usage": _usage(completion.usage)}
        pieces += [event(end, "message_delta"), event({"type": "message_stop"}, "message_stop")]
        return b"".join(pieces)

    def failed(self, failure: Failure) -> bytes:
        """Return the end of a stream that fails."""
        return event(_error(failure), "error")

    def _message(self, usage: dict[str, Any], content: list[Any], finish: str | None) -> dict[str, Any]:
        return {
            "id": self._id, "type": "message", "role": "assistant", "model": self._model,
            "content": content, "stop_reason": finish, "stop_sequence": None, "usage": usage,
        }  # fmt: skip


def _messages(read: _Message) -> Iterator[Message]:
    """Yield the messages that one of Anthropic's stands for: results of tools come first."""
    blocks = [_Block(type="text", text=read.content)] if isinstance(read.content, str) else read.content
    if read.role == "assistant":
        calls = tuple(
            ToolCall(id=block.id, name=block.name, arguments=encode(block.input).decode())
            for block in blocks
            if block.type == "tool_use"
        )
        text = "\n".join(block.text for block in blocks if block.type == "text")
        yield Message(role="assistant", text=text, tool_calls=calls)
        return
    if read.role not in ("user", "system"):
        raise UnreadableError(f"not a request: role {read.role[:40]!r}")
    rest: list[str] = []
    for block in blocks:
        if block.type == "tool_result":
            yield Message(role="tool", text=text_of(block.content), tool_call_id=block.tool_use_id)
        elif block.type == "text":
            rest.append(block.text)
        elif block.type in ("image", "document"):
            rest.append(IMAGE_LEFT_OUT)
    if rest:
        yield Message(role="user", text="\n".join(rest))


def _input(call: ToolCall) -> dict[str, Any]:
    """Return a call's arguments, which this format wants as an object, whatever the model wrote."""
    try:
        return msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return {"malformed": call.arguments}


def _use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name}


def _begin(index: int, block: dict[str, Any]) -> bytes:
    value = {"type": "content_block_start", "index": index, "content_block": block}
    return event(value, "content_block_start")


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")


def _stop(index: int) -> bytes:
    return event({"type": "content_block_stop", "index": index}, "content_block_stop")


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.output_tokens,
    }


def _error(failure: Failure) -> dict[str, Any]:
    message = failure.message
    if failure.kind == "overflow":
        # The words by which Claude Code knows that it must compact.
        message = f"prompt is too long: {message}"
    return {"type": "error", "error": {"type": _KINDS[failure.kind], "message": message}}
