"""Where an attempt may go on from: forks cut from a log, files and base at a place in it, words untold."""

from collections.abc import Iterable

from overnight.domain.commands import ARRIVALS, Arrival
from overnight.domain.errors import NotFoundError
from overnight.domain.events import (
    CommandAccepted,
    Event,
    MessageAdded,
    StepEnded,
    TurnStarted,
    UsageUpdated,
)
from overnight.events.folds import finished_history


def cut(events: Iterable[Event], step: int) -> list[Event]:
    """Return the finished steps up to and with `step`, as a fork of it begins; usage is not its own.

    Raises:
        NotFoundError: no such step has been finished.
    """
    kept: list[Event] = []
    for event in finished_history(events):
        if not isinstance(event, UsageUpdated):
            kept.append(event)
        if isinstance(event, StepEnded) and event.step == step:
            return kept
    last = next((event.step for event in reversed(kept) if isinstance(event, StepEnded)), 0)
    raise NotFoundError(
        f"There is no finished step {step}.",
        f"The last one is step {last}; `overnight task logs` marks them."
        if last
        else "No step has ended yet.",
    )


def checkpoint_of(events: Iterable[Event]) -> str | None:
    """Return the checkpoint that holds the files where these events end; None where no step has ended."""
    found: str | None = None
    for event in events:
        if isinstance(event, StepEnded) or (isinstance(event, TurnStarted) and event.checkpoint is not None):
            found = event.checkpoint
    return found


def base_of(events: Iterable[Event], first: str) -> str:
    """Return the base commit that the files are compared with where these events end; it began as `first`."""
    for event in events:
        if isinstance(event, TurnStarted):
            first = event.base_commit
    return first


def undelivered(events: Iterable[Event], history: Iterable[Event]) -> list[Arrival]:
    """Return what was accepted for the agent in `events`, and of which `history` holds no receipt."""
    told = {event.command_id for event in history if isinstance(event, MessageAdded)}
    found: dict[str, Arrival] = {}
    for event in events:
        if isinstance(event, TurnStarted):
            found[event.command_id] = Arrival(id=event.command_id, kind="message", text=told_of(event))
        elif isinstance(event, CommandAccepted) and event.kind in ARRIVALS:
            found[event.command_id] = Arrival(id=event.command_id, kind=event.kind, text=event.text)
    return [arrival for key, arrival in found.items() if key not in told]


def told_of(turn: TurnStarted) -> str:
    """Return what the agent reads at the beginning of a later turn: the person's words, then what is new."""
    parts = [turn.prompt]
    if turn.verdict:
        parts.append(f"(Your last patch was checked in a clean copy: {turn.verdict})")
    if turn.checkpoint is not None:
        parts.append(f"(The repository moved on: your changes are on top of {turn.base_commit[:12]} now.)")
    if turn.conflicts:
        listed = "\n".join(f"  {path}" for path in turn.conflicts)
        parts.append(
            "These files conflict with it. Where text was merged they hold both sides between markers "
            f"(<<<<<<<, =======, >>>>>>>); resolve them first:\n{listed}"
        )
    return "\n\n".join(parts)


def transcript(history: Iterable[Event], most: int = 20_000) -> str:
    """Return a conversation as text, its two ends if it has more than `most` characters."""
    lines: list[str] = []
    for event in history:
        if isinstance(event, MessageAdded) and event.message.role != "system":
            lines.append(f"{event.message.role}: {event.message.text}".rstrip())
            lines += [f"{call.name} {call.arguments}" for call in event.message.tool_calls]
    text = "\n".join(lines)
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}\n…\n{text[-half:]}"
