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
    """An answer's parts as its provider gave them, in order: signatures, encrypted reasoning, item ids.

    Opaque. Goes back unchanged to the model that made it, where the provider asks for that; no other model
    gets it.
    """

    provider: str
    """Who made it: `provider:name`."""
    parts: str
    """JSON text."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. An assistant's may carry tool calls; a tool's answers the call `tool_call_id`.

    Whoever changes an assistant's text or calls must drop its `native` form, which says the same.
    """

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    images: tuple[Image, ...] = ()
    reasoning: str = ""
    """What the model says of its thinking, for people."""
    native: Native | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent asks of a model."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    temperature: float = 0.0
    max_output_tokens: int = 4096
    stop: tuple[str, ...] = ()
    seed: int | None = None
    images: Mapping[str, bytes] = msgspec.field(default_factory=dict[str, bytes])
    """The bytes of the messages' images, by digest."""
    silence_seconds: float = 300.0
    """The longest time without a sign of the model: the limit `model_silence_seconds`."""


class TokenTrace(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange in tokens, as far as the server tells: they cannot be rebuilt from the text later."""

    prompt_ids: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    """Those of the answer."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithms of the probabilities of the answer's tokens, one each."""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What the model answered. `finish` is `length` when the answer was cut."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: Literal["stop", "tool_calls", "length"] = "stop"
    model: str = ""
    """Who answered: `provider:name`."""
    reasoning: str = ""
    native: Native | None = None
    request_id: str = ""
    """The provider's own name of the exchange, for its support and its logs."""
    trace: TokenTrace | None = None

    @property
    def message(self) -> Message:
        """The answer as the conversation's next message."""
        return Message(
            role="assistant",
            text=self.text,
            tool_calls=self.tool_calls,
            reasoning=self.reasoning,
            native=self.native,
        )
