"""Pausing: whoever works on an attempt lays it down; what nobody works on is paused at once."""

from collections.abc import Callable

from sqlalchemy import Connection

from overnight.domain.errors import ConflictError
from overnight.domain.events import AttemptWaiting, CommandAccepted
from overnight.domain.ids import short
from overnight.domain.states import TURN_ENDED, TURN_WAITING
from overnight.domain.task import Attempt
from overnight.events.log import append_last
from overnight.store import attempts, commands, jobs
from overnight.store.database import Database
from overnight.tasks.cancel import dead_owners, expire

REASON = "Paused by a person."


async def pause(
    database: Database, task_id: str, attempt_id: str | None, now: float, is_alive: Callable[[str], bool]
) -> int:
    """Pause the attempt, or all of the task that can be; return how many.

    Raises:
        ConflictError: none can be; the reason is that of the first one.
    """
    dead = await dead_owners(database, now, is_alive)

    def work(connection: Connection) -> int:
        expire(connection, dead)
        of_task = attempts.of_task(connection, task_id)
        chosen = [one for one in of_task if attempt_id in (None, one.id)]
        reasons = [_why_not(attempt) for attempt in chosen]
        if all(reasons):
            identifier = short(attempt_id or task_id)
            raise ConflictError(f"Nothing to pause: {reasons[0]}.", f"See: overnight task view {identifier}")
        for attempt, reason in zip(chosen, reasons, strict=True):
            if not reason:
                _pause(connection, attempt, now)
        return sum(not reason for reason in reasons)

    return await database.tx(work)


def _why_not(attempt: Attempt) -> str:
    if attempt.state in TURN_ENDED:
        return f"attempt {short(attempt.id)} has ended"
    if attempt.state in TURN_WAITING:
        return f"attempt {short(attempt.id)} waits already ({attempt.state})"
    return f"attempt {short(attempt.id)} is being verified" if attempt.state == "verifying" else ""


def _pause(connection: Connection, attempt: Attempt, now: float) -> None:
    waiting = commands.pending(connection, attempt.id, ("pause",))
    if jobs.owner_of(connection, attempt.id, now) is not None:
        if not waiting:
            commands.insert_one(connection, attempt.id, "pause", now)
        return
    command = waiting[0] if waiting else commands.insert_one(connection, attempt.id, "pause", now)
    commands.settle(connection, command.id, "accepted", now)
    attempts.advance(connection, attempt.id, attempt.state, "paused", now, message=REASON)
    epoch = jobs.withdraw(connection, attempt.id, "waiting")
    accepted = CommandAccepted(command_id=command.id, kind="pause")
    append_last(connection, attempt.id, epoch, accepted, now)
    append_last(connection, attempt.id, epoch, AttemptWaiting(state="paused"), now)
