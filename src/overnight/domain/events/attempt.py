"""The life of an attempt: started, phases, steps, ended."""

from typing import Literal

from overnight.domain.commands import CommandKind
from overnight.domain.events.base import EventBase
from overnight.domain.states import TurnState
from overnight.domain.task import Usage

Phase = Literal["preparing", "working", "verifying", "publishing"]


class AttemptStarted(EventBase, tag="attempt.started", frozen=True, kw_only=True):
    """A worker took the attempt. `epoch` above 1 means it was taken up again."""

    agent: str
    model: str
    prompt: str
    base_commit: str
    epoch: int
    turn: int = 1


class AttemptForked(EventBase, tag="attempt.forked", frozen=True, kw_only=True):
    """The attempt begins where `origin` stood after `step`; 0 is the start. What was before is in its log."""

    origin: str
    step: int


class TurnStarted(EventBase, tag="turn.started", frozen=True, kw_only=True):
    """A person's message begins a turn after the first; `command_id` names the command, accepted by this.

    `checkpoint` holds the files where the base moved: `conflicts` are paths with markers in them.
    """

    turn: int
    prompt: str
    command_id: str
    base_commit: str
    checkpoint: str | None = None
    conflicts: tuple[str, ...] = ()
    verdict: str = ""
    """What verification said of the turn before."""


class CommandAccepted(EventBase, tag="command.accepted", frozen=True, kw_only=True):
    """What a person said to the attempt has reached it."""

    command_id: str
    kind: CommandKind
    text: str = ""


class CommandRefused(EventBase, tag="command.refused", frozen=True, kw_only=True):
    """What a person said to the attempt came too late or at the wrong moment."""

    command_id: str
    kind: CommandKind
    reason: str


class AttemptWaiting(EventBase, tag="attempt.waiting", frozen=True, kw_only=True):
    """The attempt waits for a person, and takes up nothing meanwhile.

    `question` is the agent's, with answers it offers; `limit` is the one that was reached; with neither a
    person paused it.
    """

    state: TurnState
    question: str = ""
    choices: tuple[str, ...] = ()
    limit: str = ""


class PhaseChanged(EventBase, tag="phase.changed", frozen=True, kw_only=True):
    """The attempt entered a phase; `detail` says what in particular (`reusing snapshot`)."""

    phase: Phase
    detail: str = ""


class StepStarted(EventBase, tag="step.started", frozen=True, kw_only=True):
    """A model response is about to be asked for. Steps count from 1 over the attempt."""

    step: int
    title: str = ""


class StepEnded(EventBase, tag="step.ended", frozen=True, kw_only=True):
    """The step's actions are done; a resume goes on after the last of these.

    `state` is whatever the agent needs to go on from here, as JSON text of its own format.
    """

    step: int
    checkpoint: str | None = None
    state: str = ""
    seconds: float = 0.0
    """Working time so far, of all workers together."""


class UsageUpdated(EventBase, tag="usage.updated", frozen=True, kw_only=True):
    """The attempt's usage so far, in all."""

    usage: Usage


class Heartbeat(EventBase, tag="heartbeat", frozen=True, kw_only=True):
    """The attempt is alive while nothing else happens; `waiting_for` says on what."""

    waiting_for: str = ""


class Noted(EventBase, tag="note", frozen=True, kw_only=True):
    """One line for the reader of the log: progress that is none of the other facts."""

    text: str


class LimitHit(EventBase, tag="limit.hit", frozen=True, kw_only=True):
    """A named limit was reached; `limit` is the field's name in `Limits`."""

    limit: str
    detail: str = ""


class PolicyBlocked(EventBase, tag="policy.blocked", frozen=True, kw_only=True):
    """Something was asked for that the policy does not allow."""

    what: str
    detail: str = ""


class AttemptFailed(EventBase, tag="attempt.failed", frozen=True, kw_only=True):
    """An error ended the turn."""

    message: str
    hint: str = ""


class AttemptEnded(EventBase, tag="attempt.ended", frozen=True, kw_only=True):
    """The turn's end."""

    state: TurnState
    summary: str = ""
