"""What model and agent said to each other."""

from overnight.domain.conversation import Message
from overnight.domain.events.base import EventBase
from overnight.domain.task import Usage


class MessageDelta(EventBase, tag="message.delta", frozen=True, kw_only=True):
    """Text of an answer as it arrives; may be compacted away once the message is complete."""

    step: int
    text: str


class MessageAdded(EventBase, tag="message.added", frozen=True, kw_only=True):
    """A message joined the conversation. `usage` is that of the call which made it, for answers.

    `command_id` names the command of a person whose words it holds.
    """

    step: int
    message: Message
    usage: Usage | None = None
    temperature: float | None = None
    command_id: str = ""


class ToolCallStarted(EventBase, tag="tool_call.started", frozen=True, kw_only=True):
    """An action begins; `summary` is one line for people."""

    step: int
    call_id: str
    name: str
    summary: str


class ToolCallEnded(EventBase, tag="tool_call.ended", frozen=True, kw_only=True):
    """The action's end."""

    step: int
    call_id: str
    ok: bool
    seconds: float
    summary: str = ""


class ModelWaiting(EventBase, tag="model.waiting", frozen=True, kw_only=True):
    """The model is loading, restarting or rate limited; the attempt waits."""

    reason: str
