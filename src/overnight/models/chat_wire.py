"""The OpenAI chat format as the local server speaks it: our request to JSON, its stream to a completion."""

from typing import Any, Literal

import msgspec

from overnight.domain.conversation import Completion, Message, Request, TokenTrace, ToolCall
from overnight.domain.task import Usage


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Token(msgspec.Struct):
    """A token as llama.cpp tells it: OpenAI's form, and its id."""

    logprob: float
    id: int | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class PromptProgress(msgspec.Struct):
    """How far the server has read the prompt, in tokens (llama.cpp's `return_progress`)."""

    total: int = 0
    cache: int = 0
    processed: int = 0


class WireError(msgspec.Struct):
    """An error as the server words it."""

    message: str = ""
    type: str = ""


class Chunk(msgspec.Struct):
    """One piece of the stream."""

    choices: list[_Choice] = msgspec.field(default_factory=list[_Choice])
    usage: _Usage | None = None
    prompt_progress: PromptProgress | None = None
    error: WireError | None = None


def chat_body(request: Request, *, trace: bool = False) -> dict[str, Any]:
    """Return the body that asks for `request`, streamed, with the prompt cache on.

    With `trace`, the answer's tokens come with their ids and log-probabilities.
    """
    body: dict[str, Any] = {
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "cache_prompt": True,
        "temperature": request.temperature,
        "max_tokens": request.max_output_tokens,
    }
    if trace:
        body["logprobs"] = True
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)},
            }
            for t in request.tools
        ]
    return body


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


class ChatStream:
    """Folds the chunks of one stream into a completion."""

    def __init__(self) -> None:
        self.finished = False
        self._text: list[str] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._finish: Literal["stop", "tool_calls", "length"] = "stop"
        self._usage = _Usage()
        self._tokens: list[_Token] = []

    def add(self, chunk: Chunk) -> str:
        """Take one chunk; returns the text it adds."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        added = ""
        for choice in chunk.choices:
            added += choice.delta.content or ""
            if choice.logprobs is not None:
                self._tokens += choice.logprobs.content or ()
            for call in choice.delta.tool_calls or ():
                self._add_call(call)
            if choice.finish_reason is not None:
                self.finished = True
                self._finish = _finish(choice.finish_reason)
        self._text.append(added)
        return added

    def _add_call(self, delta: _ToolDelta) -> None:
        function = delta.function or _Function()
        identifier, name, arguments = self._calls.get(delta.index, ("", "", []))
        if function.arguments:
            arguments.append(function.arguments)
        self._calls[delta.index] = (identifier or delta.id or "", name or function.name or "", arguments)

    def completion(self, model: str) -> Completion:
        """Return what came, with its usage; call it when the stream has ended."""
        calls = tuple(
            ToolCall(id=identifier or f"call_{index}", name=name, arguments="".join(arguments))
            for index, (identifier, name, arguments) in sorted(self._calls.items())
        )
        details = self._usage.prompt_tokens_details
        return Completion(
            text="".join(self._text),
            tool_calls=calls,
            usage=Usage(
                model_calls=1,
                input_tokens=self._usage.prompt_tokens,
                cached_tokens=details.cached_tokens if details else 0,
                output_tokens=self._usage.completion_tokens,
            ),
            finish="tool_calls" if calls else self._finish,
            model=model,
            trace=TokenTrace(
                ids=tuple(token.id for token in self._tokens if token.id is not None),
                logprobs=tuple(token.logprob for token in self._tokens),
            )
            if self._tokens
            else None,
        )


def _finish(reason: str) -> Literal["stop", "tool_calls", "length"]:
    match reason:
        case "length":
            return "length"
        case "tool_calls":
            return "tool_calls"
        case _:
            return "stop"
