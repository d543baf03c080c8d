"""Google's generateContent, which Gemini CLI speaks: the path names the model and says whether to stream."""

from typing import Any

import msgspec

from overnight.domain.conversation import Completion, Message, Request, ToolCall, ToolSpec
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import (
    IMAGE_LEFT_OUT,
    STATUS,
    Asked,
    Failure,
    decode,
    encode,
    event,
)

_STATUSES = {
    "unreadable": "INVALID_ARGUMENT",
    "overflow": "INVALID_ARGUMENT",
    "credential": "UNAUTHENTICATED",
    "limit": "PERMISSION_DENIED",
    "unavailable": "UNAVAILABLE",
    "failed": "INTERNAL",
}


class _Call(msgspec.Struct):
    name: str
    args: dict[str, Any] = {}
    id: str = ""


class _Result(msgspec.Struct):
    name: str
    response: dict[str, Any] = {}
    id: str = ""


class _Part(msgspec.Struct, rename="camel"):
    text: str = ""
    thought: bool = False
    function_call: _Call | None = None
    function_response: _Result | None = None
    inline_data: dict[str, Any] | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []
    role: str = "user"


class _Declaration(msgspec.Struct, rename="camel"):
    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class _Tool(msgspec.Struct, rename="camel"):
    function_declarations: list[_Declaration] = []


class _Config(msgspec.Struct, rename="camel"):
    temperature: float | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    seed: int | None = None


class _Body(msgspec.Struct, rename="camel"):
    contents: list[_Content]
    system_instruction: _Content | None = None
    tools: list[_Tool] | None = None
    generation_config: _Config | None = None


class Google:
    """`POST /v1beta/models/NAME:generateContent`, and `:streamGenerateContent` where `stream`."""

    waiting = b": waiting\n\n"

    def __init__(self, stream: bool) -> None:
        self._stream = stream

    def read(self, body: bytes) -> Asked:
        """Return what is asked; see `Dialect.read`. Calls without ids are named by their places."""
        read = decode(body, _Body)
        system = _text(read.system_instruction.parts) if read.system_instruction is not None else ""
        messages = [Message(role="system", text=system)] if system else []
        open_calls: list[ToolCall] = []
        for content in read.contents:
            messages.extend(_messages(content, open_calls, len(messages)))
        config = read.generation_config or _Config()
        request = Request(
            messages=tuple(messages),
            tools=tuple(_tool(one) for tool in read.tools or [] for one in tool.function_declarations),
            temperature=config.temperature or 0.0,
            max_output_tokens=config.max_output_tokens or 0,
            stop=tuple(config.stop_sequences or ()),
            seed=config.seed,
        )
        return Asked(request=request, model="", stream=self._stream)

    def writer(self, asked: Asked, number: int) -> "GoogleWriter":
        """Return who writes the answer."""
        del asked
        return GoogleWriter(number)

    def refusal(self, failure: Failure) -> tuple[int, bytes]:
        """Return status and body of an answer that is none."""
        return STATUS[failure.kind], encode(_error(failure))


class GoogleWriter:
    """Writes a response, or its chunks, each of which is one."""

    def __init__(self, number: int) -> None:
        self._id = f"response-{number}"

    def whole(self, completion: Completion) -> bytes:
        """Return the answer as one JSON document."""
        text = [{"text": completion.text}] if completion.text else []
        return encode(self._response([*text, *_calls(completion)], completion))

    def opening(self) -> bytes:
        """Return the begin of a stream, which is nothing."""
        return b""

    def delta(self, text: str) -> bytes:
        """Return the next piece of the answer's text."""
        return event(self._response([{"text": text}]))

    def closing(self, completion: Completion) -> bytes:
        """Return calls, usage, and the end."""
        return event(self._response(_calls(completion) or [{"text": ""}], completion))

    def failed(self, failure: Failure) -> bytes:
        """Return the end of a stream that fails."""
        return event(_error(failure))

    def _response(self, parts: list[dict[str, Any]], completion: Completion | None = None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
        response: dict[str, Any] = {"responseId": self._id, "candidates": [candidate]}
        if completion is not None:
            candidate["finishReason"] = "MAX_TOKENS" if completion.finish == "length" else "STOP"
            response["usageMetadata"] = _usage(completion.usage)
        return response


def _messages(content: _Content, open_calls: list[ToolCall], place: int) -> list[Message]:
    """Return the messages of a content; `open_calls` are those that have no result yet."""
    if content.role == "model":
        calls = [
            ToolCall(
                id=part.function_call.id or f"call_{place}_{number}",
                name=part.function_call.name,
                arguments=encode(part.function_call.args).decode(),
            )
            for number, part in enumerate(content.parts)
            if part.function_call is not None
        ]
        open_calls[:] = calls
        return [Message(role="assistant", text=_text(content.parts), tool_calls=tuple(calls))]
    messages: list[Message] = []
    for part in content.parts:
        result = part.function_response
        if result is None:
            continue
        fitting = [
            call
            for call in open_calls
            if result.id == call.id or (not result.id and result.name == call.name)
        ]
        if fitting:
            open_calls.remove(fitting[0])
            value = result.response.get("output", result.response)
            text = value if isinstance(value, str) else encode(value).decode()
            messages.append(Message(role="tool", text=text, tool_call_id=fitting[0].id))
    text = _text(content.parts)
    return [*messages, Message(role="user", text=text)] if text else messages


def _text(parts: list[_Part]) -> str:
    pieces = [part.text for part in parts if part.text and not part.thought]
    return "\n".join([*pieces, *(IMAGE_LEFT_OUT for part in parts if part.inline_data is not None)])


def _tool(one: _Declaration) -> ToolSpec:
    schema = one.parameters_json_schema or _plain(one.parameters or {"type": "object", "properties": {}})
    return ToolSpec(name=one.name, description=one.description, parameters=schema)


def _plain(schema: Any) -> Any:
    """Return a schema of Google's kind, whose types are in capitals, as JSON Schema."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return schema
    named: dict[str, Any] = schema  # pyright: ignore[reportUnknownVariableType]
    return {
        key: value.lower() if key == "type" and isinstance(value, str) else _plain(value)
        for key, value in named.items()
    }


def _calls(completion: Completion) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for call in completion.tool_calls:
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            arguments = {"malformed": call.arguments}
        calls.append({"functionCall": {"id": call.id, "name": call.name, "args": arguments}})
    return calls


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }


def _error(failure: Failure) -> dict[str, Any]:
    code, status = STATUS[failure.kind], _STATUSES[failure.kind]
    return {"error": {"code": code, "message": failure.message, "status": status}}
