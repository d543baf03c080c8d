"""What people say to an attempt while it lives: commands, kept as rows, and their words for the agent."""

from typing import Literal

import msgspec

CommandKind = Literal["message", "steer", "answer", "pause", "resume", "cancel"]
CommandState = Literal["pending", "accepted", "refused"]
ArrivalKind = Literal["message", "steer", "answer"]

ARRIVALS: tuple[ArrivalKind, ...] = ("message", "steer", "answer")
"""Commands that are words for the agent."""
STOPS: tuple[CommandKind, ...] = ("cancel", "pause")
"""Commands that stop whoever works on the attempt, wherever it stands."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word to an attempt, and what became of it. `number` counts from 1 over the attempt."""

    id: str
    attempt_id: str
    number: int
    turn: int
    kind: CommandKind
    text: str = ""
    state: CommandState = "pending"
    reason: str = ""
    """Why it was refused."""
    created_at: float
    settled_at: float | None = None
    """When it was accepted or refused, in seconds since the epoch."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Words for the agent. `id` is the command's: whoever adds them to the conversation names it."""

    id: str
    kind: ArrivalKind
    text: str
