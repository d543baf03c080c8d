"""Stopping: whoever works on an attempt is asked to; what nobody works on ends at once."""

from collections.abc import Callable

from sqlalchemy import Connection

from overnight.domain.events import AttemptEnded, CommandAccepted, CommandRefused
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt
from overnight.events.log import append_last
from overnight.store import attempts, commands, jobs, tasks
from overnight.store.database import Database

REASON = "Canceled by a person."
TOO_LATE = "The turn ended first."


async def cancel(
    database: Database,
    task_id: str,
    attempt_id: str | None,
    now: float,
    is_alive: Callable[[str], bool] | None = None,
) -> int:
    """Cancel the attempt, or all of the task; return how many had not ended yet, 0 if it was too late.

    `is_alive` tells whether the owner of a lease still runs; without it, a lease counts until it expires.

    Raises:
        NotFoundError: there is no such task.
    """
    dead = await dead_owners(database, now, is_alive)

    def work(connection: Connection) -> int:
        tasks.get(connection, task_id)
        expire(connection, dead)
        stopped = 0
        for attempt in attempts.of_task(connection, task_id):
            if attempt.state in TURN_ENDED or attempt_id not in (None, attempt.id):
                continue
            stopped += 1
            cancel_one(connection, attempt, now)
        settle(connection, task_id)
        return stopped

    return await database.tx(work)


async def dead_owners(
    database: Database, now: float, is_alive: Callable[[str], bool] | None
) -> tuple[str, ...]:
    """Return who holds a lease and is gone; `is_alive` is asked outside of any transaction."""
    if is_alive is None:
        return ()
    owners = await database.read(lambda connection: jobs.owners(connection, now))
    return tuple(owner for owner in owners if not is_alive(owner))


def expire(connection: Connection, dead: tuple[str, ...]) -> None:
    """End the leases of those who are gone."""
    for owner in dead:
        jobs.expire_owner(connection, owner)


def cancel_one(connection: Connection, attempt: Attempt, now: float, reason: str = REASON) -> None:
    """Ask the holder of an unended attempt to stop, or end it where there is none."""
    waiting = commands.pending(connection, attempt.id, ("cancel",))
    said = "" if reason == REASON else reason
    if jobs.owner_of(connection, attempt.id, now) is not None:
        if not waiting:
            commands.insert_one(connection, attempt.id, "cancel", now, said)
        return
    command = waiting[0] if waiting else commands.insert_one(connection, attempt.id, "cancel", now, said)
    commands.settle(connection, command.id, "accepted", now)
    attempts.advance(connection, attempt.id, attempt.state, "canceled", now, message=reason)
    # Nobody else is left to write the end, and whoever follows the log waits for it.
    epoch = jobs.withdraw(connection, attempt.id)
    accepted = CommandAccepted(command_id=command.id, kind="cancel")
    append_last(connection, attempt.id, epoch, accepted, now)
    for event in refuse_rest(connection, attempt.id, now):
        append_last(connection, attempt.id, epoch, event, now)
    append_last(connection, attempt.id, epoch, AttemptEnded(state="canceled", summary=reason), now)


def refuse_rest(connection: Connection, attempt_id: str, now: float) -> list[CommandRefused]:
    """Refuse what a turn that ends has not accepted; return the events that say so."""
    left = commands.refuse_pending(connection, attempt_id, now, TOO_LATE)
    return [CommandRefused(command_id=one.id, kind=one.kind, reason=TOO_LATE) for one in left]


def settle(connection: Connection, task_id: str) -> bool:
    """Close an open task whose attempts have all ended: canceled if they all were, else done.

    Returns whether it was closed here.
    """
    if tasks.get(connection, task_id).state != "open":
        return False
    states = {attempt.state for attempt in attempts.of_task(connection, task_id)}
    if not states <= TURN_ENDED:
        return False
    tasks.set_state(connection, task_id, "open", "canceled" if states == {"canceled"} else "done")
    return True


def reopen(connection: Connection, task_id: str) -> None:
    """Open a task that had ended: an attempt of it goes on."""
    state = tasks.get(connection, task_id).state
    if state != "open":
        tasks.set_state(connection, task_id, state, "open")
