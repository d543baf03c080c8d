"""The state tables of tasks and turns. The database keeps the same tables (see `store/schema.py`)."""

from typing import Final, Literal

TaskState = Literal["open", "done", "canceled"]
TurnState = Literal[
    "queued",
    "preparing",
    "working",
    "needs_input",
    "paused",
    "verifying",
    "succeeded",
    "failed",
    "canceled",
]

TASK_TRANSITIONS: Final[frozenset[tuple[TaskState, TaskState]]] = frozenset(
    {("open", "done"), ("open", "canceled"), ("done", "open"), ("canceled", "open")}
)

TURN_TRANSITIONS: Final[frozenset[tuple[TurnState, TurnState]]] = frozenset(
    {
        ("queued", "preparing"),
        ("queued", "paused"),
        ("queued", "canceled"),
        ("preparing", "working"),
        ("preparing", "paused"),
        ("preparing", "failed"),
        ("preparing", "canceled"),
        ("working", "needs_input"),
        ("working", "paused"),
        ("working", "verifying"),
        ("working", "failed"),
        ("working", "canceled"),
        ("needs_input", "working"),
        ("needs_input", "canceled"),
        ("paused", "working"),
        ("paused", "canceled"),
        ("verifying", "succeeded"),
        ("verifying", "failed"),
        ("verifying", "canceled"),
        # Recovery: a lost worker's turn is taken up again by another one. So is one that waited for a
        # person: waiting takes no worker and no sandbox.
        ("working", "preparing"),
        ("paused", "preparing"),
        ("needs_input", "preparing"),
    }
)

TURN_ENDED: Final[frozenset[TurnState]] = frozenset({"succeeded", "failed", "canceled"})
"""States that never change again."""
TURN_WAITING: Final[frozenset[TurnState]] = frozenset({"needs_input", "paused"})
"""States in which a person is waited for, and nobody works."""


def may_turn(before: TurnState, after: TurnState) -> bool:
    """Say whether a turn may go from `before` to `after`; staying put is no transition."""
    return (before, after) in TURN_TRANSITIONS
