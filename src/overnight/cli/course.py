"""The course of an attempt for people and scripts: its turns, what was said to it, where it was forked."""

from collections.abc import Sequence
from typing import Any

import msgspec

from overnight.cli.lines import at_step
from overnight.cli.text import one_line
from overnight.domain.commands import Command
from overnight.domain.ids import short
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt, Turn
from overnight.tasks.views import TaskView

SHOWN = 5
"""How many of the last commands are listed."""


def course_object(shown: TaskView, attempt: Attempt) -> dict[str, Any]:
    """Return what `task view --json` says of an attempt's course."""
    forked = {"attempt": attempt.forked_from, "step": attempt.fork_step} if attempt.forked_from else None
    return {
        "turn": attempt.turn,
        "turns": [_turn_object(turn) for turn in shown.turns.get(attempt.id, ())],
        "commands": [_command_object(one) for one in shown.commands.get(attempt.id, ())],
        "forked_from": forked,
        "superseded_by": attempt.superseded_by,
    }


def _turn_object(turn: Turn) -> dict[str, Any]:
    verdict = turn.verdict
    return {
        "number": turn.number,
        "state": turn.state,
        "prompt": turn.prompt,
        "message": turn.message,
        "base_commit": turn.base_commit or None,
        "commit": turn.patch.commit if turn.patch is not None else None,
        "verified": verdict.verified if verdict is not None else None,
        "finding": verdict.finding if verdict is not None else None,
    }


def _command_object(command: Command) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(command).items() if name != "attempt_id"}


def course_lines(shown: TaskView, attempt: Attempt, resumed: str = "") -> list[str]:
    """Return where an attempt comes from, its turns if there are several, and what was said to it.

    `resumed` says how an agent's program went on, `native` or `replayed`.
    """
    numbers = {one.id: one.number for one in shown.attempts}
    lines: list[str] = []
    if attempt.forked_from is not None:
        origin, how = numbers.get(attempt.forked_from, 0), f", {resumed}" if resumed else ""
        lines.append(
            f"forked from attempt {origin} ({short(attempt.forked_from)}) {at_step(attempt.fork_step)}{how}"
        )
    if attempt.superseded_by is not None:
        other = attempt.superseded_by
        lines.append(f"superseded by attempt {numbers.get(other, 0)} ({short(other)})")
    turns = shown.turns.get(attempt.id, ())
    if len(turns) > 1:
        lines += [_turn_line(turn) for turn in turns]
    said = shown.commands.get(attempt.id, ())
    lines += [_command_line(command) for command in said[-SHOWN:]]
    return lines


def _turn_line(turn: Turn) -> str:
    became = (
        turn.verdict.finding.replace("_", " ") if turn.verdict and turn.state in TURN_ENDED else turn.state
    )
    asked = f": {one_line(turn.prompt, 80)}" if turn.prompt else ""
    return f"turn {turn.number} ({became}){asked}"


def _command_line(command: Command) -> str:
    reason = f" ({one_line(command.reason, 80)})" if command.reason else ""
    text = f" {one_line(command.text, 80)}" if command.text else ""
    return f"{command.state}: {command.kind}{text}{reason}"


def tree(attempts: Sequence[Attempt]) -> list[tuple[Attempt, int]]:
    """Return attempts with how deep they stand among forks: each behind what it was forked from."""
    known = {attempt.id for attempt in attempts}
    children: dict[str | None, list[Attempt]] = {}
    for attempt in attempts:
        parent = attempt.forked_from if attempt.forked_from in known else None
        children.setdefault(parent, []).append(attempt)
    ordered: list[tuple[Attempt, int]] = []
    pending = [(attempt, 0) for attempt in reversed(children.get(None, []))]
    while pending:
        attempt, depth = pending.pop()
        ordered.append((attempt, depth))
        pending += [(child, depth + 1) for child in reversed(children.get(attempt.id, []))]
    return ordered
