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


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A picture. Its bytes are kept under `digest`, so that no log holds them; sizes in pixels and bytes."""

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    digest: str
    width: int
    height: int
    size: int


class Native(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in the provider's own parts, signatures and all; given back unchanged to the same model."""

    provider: str
    parts: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. An assistant's may carry tool calls; a tool's answers the call `tool_call_id`.

    Whoever changes the text of an assistant's message drops `native`.
    """

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    images: tuple[Image, ...] = ()
    reasoning: str = ""
    """What the model thought before it answered, for people."""
    native: Native | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent asks of a model."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    temperature: float = 0.0
    max_output_tokens: int = 4096
    stop: tuple[str, ...] = ()
    seed: int | None = None
    images: Mapping[str, bytes] = {}
    """The bytes of the messages' images, by digest."""
    silence_seconds: float = 300.0
    """How long the model may say nothing."""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What the model answered. `finish` is `length` when the answer was cut."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: Literal["stop", "tool_calls", "length"] = "stop"
    model: str = ""
    reasoning: str = ""
    native: Native | None = None

    @property
    def message(self) -> Message:
        """The answer as a message of the conversation."""
        return Message(
            role="assistant",
            text=self.text,
            tool_calls=self.tool_calls,
            reasoning=self.reasoning,
            native=self.native,
        )
