"""What model, agent and person said to each other."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from overnight.domain.conversation import Completion, Message, ToolSpec
from overnight.domain.events.base import EventBase
from overnight.domain.task import Usage


class MessageDelta(EventBase, tag="message.delta", frozen=True, kw_only=True):
    """Text of an answer as it arrives; emptied when the turn ends, as the message holds it."""

    step: int
    text: str
    kind: Literal["text", "reasoning"] = "text"


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


class ArtifactKept(EventBase, tag="artifact.kept", frozen=True, kw_only=True):
    """The whole of what a model saw a part of, or a picture, is kept under `digest`; `size` in bytes."""

    step: int
    digest: str
    size: int
    what: str


class PlanStep(msgspec.Struct, frozen=True):
    """One thing that the agent means to do."""

    text: str
    state: Literal["pending", "doing", "done"] = "pending"


class PlanUpdated(EventBase, tag="plan.updated", frozen=True, kw_only=True):
    """The agent's plan, as a whole, takes the place of the one before."""

    step: int
    steps: tuple[PlanStep, ...]


class QuestionAsked(EventBase, tag="question.asked", frozen=True, kw_only=True):
    """The agent asks a person and does nothing until they answer; `call_id` is the tool call to answer."""

    step: int
    call_id: str
    text: str
    choices: tuple[str, ...] = ()


class StuckNoticed(EventBase, tag="stuck.noticed", frozen=True, kw_only=True):
    """The agent did the same, or failed the same, `times` times, and is told to go another way."""

    step: int
    what: str
    times: int


class ContextCompacted(EventBase, tag="context.compacted", frozen=True, kw_only=True):
    """The conversation became shorter, because the model's window is nearly full; tokens are estimates.

    `aged`: results of tools before message `until` are cut to their beginnings. `summed_up`: the messages
    between the opening and message `until` give way to `summary`.
    """

    step: int
    kind: Literal["aged", "summed_up"]
    until: int
    summary: str = ""
    tokens_before: int = 0
    tokens_after: int = 0


class ModelWaiting(EventBase, tag="model.waiting", frozen=True, kw_only=True):
    """The model is loading, restarting or rate limited; the attempt waits."""

    reason: str


class ModelOpened(EventBase, tag="model.opened", frozen=True, kw_only=True):
    """The attempt's work begins with this model; `profile` holds what is known of it, by field.

    `number` and `seed` are what the agent makes its attempts differ by.
    """

    name: str
    profile: Mapping[str, Any]
    number: int
    seed: int


class ModelCalled(EventBase, tag="model.called", frozen=True, kw_only=True):
    """One exchange with the model, whole, so that it can be replayed; calls of one attempt may overlap.

    A request repeats most of an earlier one. So `messages` holds what comes behind the first `keep` messages
    of the request of call `base`, and `tools` is None where they are those of that call.
    """

    call: int
    """Counts from 1 since the worker took the attempt."""
    base: int = 0
    """0: none, the request stands here in full."""
    keep: int = 0
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] | None = None
    temperature: float = 0.0
    max_output_tokens: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    completion: Completion | None = None
    error: str = ""
    """The kind of the error where there is no answer, such as `ContextOverflowError`."""
    detail: str = ""
    """The error's words."""
    seconds: float = 0.0
    first_seconds: float | None = None
    """Until the first piece of the answer; None where none came."""
