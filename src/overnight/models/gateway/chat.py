"""OpenAI's Chat Completions, as servers and CLIs without number speak it."""

from typing import Any

import msgspec

from overnight.domain.conversation import Completion, Message, Request, ToolCall, ToolSpec
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import (
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

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_CODES = {"overflow": "context_length_exceeded", "credential": "invalid_api_key"}


class _Named(msgspec.Struct):
    name: str
    arguments: str = "{}"


class _Call(msgspec.Struct):
    function: _Named
    id: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str = ""


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Body(msgspec.Struct):
    messages: list[_Message]
    model: str = ""
    tools: list[_Tool] | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None


class Chat:
    """`POST /v1/chat/completions`."""

    waiting = b": waiting\n\n"

    def read(self, body: bytes) -> Asked:
        """Return what is asked; see `Dialect.read`."""
        read = decode(body, _Body)
        tools = [tool.function for tool in read.tools or [] if tool.function is not None]
        request = Request(
            messages=tuple(_message(message) for message in read.messages),
            tools=tuple(
                ToolSpec(
                    name=tool.name,
                    description=tool.description or "",
                    parameters=tool.parameters or {"type": "object", "properties": {}},
                )
                for tool in tools
            ),
            temperature=read.temperature or 0.0,
            max_output_tokens=read.max_completion_tokens or read.max_tokens or 0,
            stop=(read.stop,) if isinstance(read.stop, str) else tuple(read.stop or ()),
            seed=read.seed,
        )
        return Asked(request=request, model=read.model, stream=bool(read.stream))

    def writer(self, asked: Asked, number: int) -> "ChatWriter":
        """Return who writes the answer."""
        return ChatWriter(asked, number)

    def refusal(self, failure: Failure) -> tuple[int, bytes]:
        """Return status and body of an answer that is none."""
        return STATUS[failure.kind], encode(_error(failure))


class ChatWriter:
    """Writes a completion, or its chunks."""

    def __init__(self, asked: Asked, number: int) -> None:
        self._model = asked.model
        self._id = f"chatcmpl-{number}"

    def whole(self, completion: Completion) -> bytes:
        """Return the answer as one JSON document."""
        message: dict[str, Any] = {"role": "assistant", "content": completion.text or None, "refusal": None}
        if completion.tool_calls:
            message["tool_calls"] = [_call(call) for call in completion.tool_calls]
        choice = {"index": 0, "message": message, "finish_reason": completion.finish, "logprobs": None}
        return encode(
            self._head("chat.completion") | {"choices": [choice], "usage": _usage(completion.usage)}
        )

    def opening(self) -> bytes:
        """Return the begin of a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def delta(self, text: str) -> bytes:
        """Return the next piece of the answer's text."""
        return self._chunk({"content": text})

    def closing(self, completion: Completion) -> bytes:
        """Return calls, usage, and the end. Usage is sent unasked: who does not want it leaves it out."""
        pieces = [
            self._chunk({"tool_calls": [{"index": index} | _call(call)]})
            for index, call in enumerate(completion.tool_calls)
        ]
        pieces.append(self._chunk({}, completion.finish))
        usage: dict[str, Any] = {"choices": [], "usage": _usage(completion.usage)}
        pieces.append(event(self._head("chat.completion.chunk") | usage))
        return b"".join((*pieces, b"data: [DONE]\n\n"))

    def failed(self, failure: Failure) -> bytes:
        """Return the end of a stream that fails."""
        return event(_error(failure))

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": 0, "model": self._model}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event(self._head("chat.completion.chunk") | {"choices": [choice]})


def _message(read: _Message) -> Message:
    if read.role in ("tool", "function"):
        return Message(role="tool", text=text_of(read.content), tool_call_id=read.tool_call_id)
    role = _ROLES.get(read.role)
    if role is None:
        raise UnreadableError(f"not a request: role {read.role[:40]!r}")
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in read.tool_calls or ()
    )
    return Message(role=role, text=text_of(read.content), tool_calls=calls)  # type: ignore[arg-type]


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _error(failure: Failure) -> dict[str, Any]:
    kind = "invalid_request_error" if STATUS[failure.kind] < 500 else "server_error"
    return {"error": {"message": failure.message, "type": kind, "code": _CODES.get(failure.kind)}}
