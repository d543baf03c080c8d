"""OpenAI's Responses, which Codex speaks. Nothing is stored: each request holds the whole conversation."""

from typing import Any

import msgspec

from overnight.domain.conversation import Completion, Message, Request, ToolCall, ToolSpec
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import (
    FREEFORM,
    STATUS,
    Asked,
    Failure,
    Part,
    UnreadableError,
    decode,
    encode,
    event,
    freeform_argument,
    freeform_tool,
    text_of,
)

_CODES = {
    "unreadable": "invalid_prompt",
    "overflow": "context_length_exceeded",
    "credential": "invalid_api_key",
    "limit": "rate_limit_exceeded",
    "unavailable": "server_error",
    "failed": "server_error",
}
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


class _Item(msgspec.Struct):
    type: str = "message"
    role: str = ""
    content: str | list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    input: str = ""
    output: str | list[Part] | None = None


class _Tool(msgspec.Struct):
    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Body(msgspec.Struct):
    input: str | list[_Item]
    model: str = ""
    instructions: str | None = None
    tools: list[_Tool] | None = None
    stream: bool | None = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    previous_response_id: str | None = None


class Responses:
    """`POST /v1/responses`."""

    waiting = b": waiting\n\n"

    def read(self, body: bytes) -> Asked:
        """Return what is asked; see `Dialect.read`. Tools that the provider would run itself are left out."""
        read = decode(body, _Body)
        if read.previous_response_id:
            raise UnreadableError("nothing is stored here: previous_response_id is not known")
        items = [_Item(role="user", content=read.input)] if isinstance(read.input, str) else read.input
        messages = _conversation(items)
        if read.instructions:
            messages.insert(0, Message(role="system", text=read.instructions))
        tools = read.tools or []
        request = Request(
            messages=tuple(messages),
            tools=tuple(spec for tool in tools if (spec := _tool(tool)) is not None),
            temperature=read.temperature or 0.0,
            max_output_tokens=read.max_output_tokens or 0,
        )
        freeform = frozenset(tool.name for tool in tools if tool.type == "custom")
        return Asked(request=request, model=read.model, stream=bool(read.stream), freeform=freeform)

    def writer(self, asked: Asked, number: int) -> "ResponsesWriter":
        """Return who writes the answer."""
        return ResponsesWriter(asked, number)

    def refusal(self, failure: Failure) -> tuple[int, bytes]:
        """Return status and body of an answer that is none."""
        kind = "invalid_request_error" if STATUS[failure.kind] < 500 else "server_error"
        error = {"message": failure.message, "type": kind, "code": _CODES[failure.kind]}
        return STATUS[failure.kind], encode({"error": error})


class ResponsesWriter:
    """Writes a response, or its events, numbered as the format wants it."""

    def __init__(self, asked: Asked, number: int) -> None:
        self._asked = asked
        self._number = number
        self._sequence = -1
        self._text = ""

    def whole(self, completion: Completion) -> bytes:
        """Return the answer as one JSON document."""
        return encode(self._response("completed", self._items(completion), completion.usage))

    def opening(self) -> bytes:
        """Return the begin of a stream."""
        response = self._response("in_progress", [])
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def delta(self, text: str) -> bytes:
        """Return the next piece of the answer's text."""
        begin = b"" if self._text else self._begin_text()
        self._text += text
        return begin + self._event(
            "response.output_text.delta", **self._place(), content_index=0, delta=text, logprobs=[]
        )

    def closing(self, completion: Completion) -> bytes:
        """Return calls, usage, and the end."""
        pieces = [self._end_text()] if self._text else []
        items = self._items(completion)
        for index, item in enumerate(items):
            if item["type"] != "message":
                pieces.append(self._call(index, item))
            elif not self._text:
                begun: dict[str, Any] = item | {"content": [], "status": "in_progress"}
                pieces.append(self._event("response.output_item.added", output_index=index, item=begun))
                pieces.append(self._event("response.output_item.done", output_index=index, item=item))
        cut = completion.finish == "length"
        status = "incomplete" if cut else "completed"
        response = self._response(status, items, completion.usage)
        if cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        pieces.append(self._event(f"response.{status}", response=response))
        return b"".join(pieces)

    def failed(self, failure: Failure) -> bytes:
        """Return the end of a stream that fails."""
        error = {"code": _CODES[failure.kind], "message": failure.message}
        return self._event("response.failed", response=self._response("failed", []) | {"error": error})

    # --- inside -------------------------------------------------------------------------------

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        return event({"type": kind, "sequence_number": self._sequence, **fields}, kind)

    def _place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self._number}", "output_index": 0}

    def _begin_text(self) -> bytes:
        item: dict[str, Any] = self._message("") | {"content": [], "status": "in_progress"}
        return self._event("response.output_item.added", output_index=0, item=item) + self._event(
            "response.content_part.added", **self._place(), content_index=0, part=_part("")
        )

    def _end_text(self) -> bytes:
        text, place = self._text, self._place()
        return b"".join(
            (
                self._event("response.output_text.done", **place, content_index=0, text=text, logprobs=[]),
                self._event("response.content_part.done", **place, content_index=0, part=_part(text)),
                self._event("response.output_item.done", output_index=0, item=self._message(text)),
            )
        )

    def _call(self, index: int, item: dict[str, Any]) -> bytes:
        custom = item["type"] == "custom_tool_call"
        field, kind = (
            (FREEFORM, "custom_tool_call_input") if custom else ("arguments", "function_call_arguments")
        )
        place = {"item_id": item["id"], "output_index": index}
        named = {} if custom else {"name": item["name"]}
        return b"".join(
            (
                self._event("response.output_item.added", output_index=index, item=item | {field: ""}),
                self._event(f"response.{kind}.delta", **place, delta=item[field]),
                self._event(f"response.{kind}.done", **place, **named, **{field: item[field]}),
                self._event("response.output_item.done", output_index=index, item=item),
            )
        )

    def _message(self, text: str) -> dict[str, Any]:
        return {
            "id": f"msg_{self._number}", "type": "message", "role": "assistant", "status": "completed",
            "content": [_part(text)],
        }  # fmt: skip

    def _items(self, completion: Completion) -> list[dict[str, Any]]:
        items = [self._message(completion.text)] if completion.text else []
        for place, call in enumerate(completion.tool_calls):
            item: dict[str, Any] = {"call_id": call.id, "name": call.name, "status": "completed"}
            if call.name in self._asked.freeform:
                item |= {"type": "custom_tool_call", FREEFORM: freeform_argument(call.arguments)}
            else:
                item |= {"type": "function_call", "arguments": call.arguments}
            items.append({"id": f"fc_{self._number}_{place}"} | item)
        return items

    def _response(
        self, status: str, output: list[dict[str, Any]], usage: Usage | None = None
    ) -> dict[str, Any]:
        return {
            "id": f"resp_{self._number}", "object": "response", "created_at": 0, "status": status,
            "model": self._asked.model, "output": output, "error": None, "incomplete_details": None,
            "instructions": None, "metadata": {}, "parallel_tool_calls": True, "tool_choice": "auto",
            "tools": [], "temperature": None, "top_p": None,
            "usage": None if usage is None else _usage(usage),
        }  # fmt: skip


def _conversation(items: list[_Item]) -> list[Message]:
    """Return the messages of a list of items; calls join the assistant's message that they follow."""
    messages: list[Message] = []
    for item in items:
        if item.type == "message":
            messages.append(_message(item))
        elif item.type in _CALLS:
            arguments = (
                item.arguments if item.type == "function_call" else encode({FREEFORM: item.input}).decode()
            )
            call = ToolCall(id=item.call_id, name=item.name, arguments=arguments)
            if messages and messages[-1].role == "assistant":
                calls = (*messages[-1].tool_calls, call)
                messages[-1] = msgspec.structs.replace(messages[-1], tool_calls=calls)
            else:
                messages.append(Message(role="assistant", tool_calls=(call,)))
        elif item.type in _OUTPUTS:
            messages.append(Message(role="tool", text=text_of(item.output), tool_call_id=item.call_id))
    return messages


def _message(item: _Item) -> Message:
    text = text_of(item.content)
    if item.role in ("system", "developer"):
        return Message(role="system", text=text)
    if item.role == "assistant":
        return Message(role="assistant", text=text)
    if item.role == "user":
        return Message(role="user", text=text)
    raise UnreadableError(f"not a request: role {item.role[:40]!r}")


def _tool(tool: _Tool) -> ToolSpec | None:
    if tool.type == "custom":
        return freeform_tool(tool.name, tool.description or "")
    if tool.type != "function":
        return None
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return ToolSpec(name=tool.name, description=tool.description or "", parameters=parameters)


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
