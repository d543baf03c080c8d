"""Views of an attempt, each a pure fold over its events: how it stands, what was said, where to go on."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from overnight.domain.events import (
    SERVICE,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    AttemptWaiting,
    CheckCompleted,
    CheckStarted,
    CommandEnded,
    CommandOutput,
    CommandStarted,
    Event,
    FileChanged,
    Heartbeat,
    LimitHit,
    MessageDelta,
    ModelWaiting,
    NetworkBlocked,
    Phase,
    PhaseChanged,
    PlanStep,
    PlanUpdated,
    ProposalChecked,
    ProposalMade,
    PullRequestOpened,
    Recorded,
    StepEnded,
    StepStarted,
    TurnStarted,
    UsageUpdated,
    VerdictReached,
)
from overnight.domain.network import Blocked
from overnight.domain.states import TurnState
from overnight.domain.task import Usage
from overnight.domain.verdict import Verdict


class ChangedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the agent changed, and by how many lines in all."""

    path: str
    change: Literal["added", "modified", "deleted"]
    added: int = 0
    removed: int = 0


class Proposals(msgspec.Struct, frozen=True, kw_only=True):
    """How the edits that `repair` asked for fared; `passed` and `failed` are tests at the last check."""

    made: int = 0
    rejected: int = 0
    checked: int = 0
    kept: int = 0
    passed: int = 0
    failed: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt stands, for a live display."""

    phase: Phase | None = None
    detail: str = ""
    step: int = 0
    title: str = ""
    command: str = ""
    """The command that runs or ran last."""
    command_running: bool = False
    exit_code: int | None = None
    """Of the last command that ended."""
    files: tuple[ChangedFile, ...] = ()
    """By path."""
    usage: Usage = Usage()
    waiting_for: str = ""
    proposals: Proposals = Proposals()
    checks: tuple[CheckCompleted, ...] = ()
    """Those of the verification."""
    plan: tuple[PlanStep, ...] = ()
    """What the agent means to do."""
    limit: str = ""
    """The limit that was reached last."""
    failure: str = ""
    verdict: Verdict | None = None
    pull_request: int | None = None
    state: TurnState | None = None
    """How the attempt ended; None while it goes on."""
    last_seq: int = 0
    last_at: float = 0.0
    """When the last event happened, in seconds since the epoch; 0 before the first."""


def status(events: Iterable[Recorded], start: Status | None = None) -> Status:
    """Return how the attempt stands after `events`; `start` is what an earlier call returned."""
    now = start or Status()
    recorded: Recorded | None = None
    for recorded in events:
        if not isinstance(recorded.event, MessageDelta | CommandOutput):
            now = _after(now, recorded.event)
        elif now.waiting_for:
            now = msgspec.structs.replace(now, waiting_for="")
    if recorded is None:
        return now
    return msgspec.structs.replace(now, last_seq=recorded.seq, last_at=recorded.at)


def _after(now: Status, event: Event) -> Status:
    """Return the status after one event; whatever happens but a wait ends a wait."""
    change = msgspec.structs.replace
    match event:
        case Heartbeat():
            return change(now, waiting_for=event.waiting_for) if event.waiting_for else now
        case ModelWaiting():
            return change(now, waiting_for=event.reason)
        case AttemptStarted():
            # Taken up again: what had failed or ended is history.
            return change(now, state=None, failure="", waiting_for="", command_running=False)
        case PhaseChanged():
            return change(now, phase=event.phase, detail=event.detail, waiting_for="")
        case StepStarted():
            return change(now, step=event.step, title=event.title, waiting_for="")
        case UsageUpdated():
            return change(now, usage=event.usage, waiting_for="")
        case FileChanged():
            return change(now, files=_with_file(now.files, event), waiting_for="")
        case LimitHit():
            return change(now, limit=event.limit, waiting_for="")
        case PlanUpdated():
            return change(now, plan=event.steps, waiting_for="")
        case VerdictReached():
            return change(now, verdict=event.verdict, waiting_for="")
        case PullRequestOpened():
            return change(now, pull_request=event.number)
        case AttemptFailed():
            return change(now, failure=event.message, waiting_for="")
        case AttemptEnded() | AttemptWaiting():
            return change(now, state=event.state, command_running=False, waiting_for="")
        case TurnStarted():
            return change(now, verdict=None, checks=(), title=event.prompt, waiting_for="")
        case ProposalMade() | ProposalChecked():
            return change(now, proposals=_with_proposal(now.proposals, event), waiting_for="")
        case CommandStarted() | CommandEnded() | CheckStarted() | CheckCompleted():
            return now if _of_service(event) else _after_command(now, event)
        case _:
            return change(now, waiting_for="") if now.waiting_for else now


def _of_service(event: Event) -> bool:
    """Say whether the event is of a service, which runs beside whatever the attempt does."""
    return isinstance(event, CommandStarted | CommandEnded) and event.command_id.startswith(SERVICE)


def _after_command(
    now: Status, event: CommandStarted | CommandEnded | CheckStarted | CheckCompleted
) -> Status:
    change = msgspec.structs.replace
    match event:
        case CommandStarted() | CheckStarted():
            return change(now, command=event.command, command_running=True, waiting_for="")
        case CommandEnded():
            return change(now, command_running=False, exit_code=event.exit_code, waiting_for="")
        case CheckCompleted():
            checks = (*now.checks, event)
            return change(
                now, command_running=False, exit_code=event.exit_code, checks=checks, waiting_for=""
            )


def _with_file(files: tuple[ChangedFile, ...], event: FileChanged) -> tuple[ChangedFile, ...]:
    by_path = {file.path: file for file in files}
    before = by_path.get(event.path)
    by_path[event.path] = ChangedFile(
        path=event.path,
        change=event.change,
        added=event.added + (before.added if before else 0),
        removed=event.removed + (before.removed if before else 0),
    )
    return tuple(by_path[path] for path in sorted(by_path))


def _with_proposal(before: Proposals, event: ProposalMade | ProposalChecked) -> Proposals:
    change = msgspec.structs.replace
    if isinstance(event, ProposalMade):
        return change(before, made=before.made + 1, rejected=before.rejected + bool(event.rejected))
    return change(
        before,
        checked=before.checked + 1,
        kept=before.kept + event.kept,
        passed=event.passed,
        failed=event.failed,
    )


def refused(events: Iterable[Event]) -> tuple[Blocked, ...]:
    """Return what was asked of the network and refused, like ones together, in the order of first asking."""
    found: dict[tuple[str, int, str], int] = {}
    for event in events:
        if isinstance(event, NetworkBlocked):
            key = (event.host, event.port, event.reason)
            found[key] = found.get(key, 0) + event.flows
    return tuple(
        Blocked(host=host, port=port, reason=reason, flows=flows)
        for (host, port, reason), flows in found.items()
    )


def finished_history(events: Iterable[Event]) -> list[Event]:
    """Return the events up to the last finished step, as if no worker had ever been lost.

    What a lost worker did in a step that it did not finish is left out: its files are not in the checkpoint
    either, and the next worker does that step again.
    """
    finished: list[Event] = []
    pending: list[Event] = []
    for event in events:
        if isinstance(event, TurnStarted):
            finished.append(event)  # it happened before any step of its turn
            continue
        if isinstance(event, AttemptStarted):
            pending.clear()
        pending.append(event)
        if isinstance(event, StepEnded):
            finished += pending
            pending.clear()
    return finished
