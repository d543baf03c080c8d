"""Messages between an agent and a model, independent of any provider."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from overnight.domain.task import Usage

Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """An action the model asks for. `arguments` is JSON text as the model wrote it, unchecked."""

    id: str
    name: str
    arguments: str


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as offered to the model; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. An assistant's may carry tool calls; a tool's answers the call `tool_call_id`."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent asks of a model."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    temperature: float = 0.0
    max_output_tokens: int = 4096
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What the model answered. `finish` is `length` when the answer was cut."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: Literal["stop", "tool_calls", "length"] = "stop"
    model: str = ""
