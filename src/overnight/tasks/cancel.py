"""Stopping: whoever works on an attempt is asked to; what nobody works on ends at once."""

from collections.abc import Callable

from sqlalchemy import Connection

from overnight.domain.events import AttemptEnded
from overnight.domain.states import TURN_ENDED
from overnight.events.log import append_last
from overnight.store import attempts, jobs, tasks
from overnight.store.database import Database

REASON = "Canceled by a person."


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

    owners = await database.read(lambda connection: jobs.owners(connection, now))
    dead = [owner for owner in owners if is_alive is not None and not is_alive(owner)]

    def work(connection: Connection) -> int:
        tasks.get(connection, task_id)
        for owner in dead:
            jobs.expire_owner(connection, owner)
        stopped = 0
        for attempt in attempts.of_task(connection, task_id):
            if attempt.state in TURN_ENDED or attempt_id not in (None, attempt.id):
                continue
            stopped += 1
            if jobs.owner_of(connection, attempt.id, now) is not None:
                attempts.request_cancel(connection, attempt.id)
                continue
            attempts.advance(connection, attempt.id, attempt.state, "canceled", now, message=REASON)
            # Nobody else is left to write the end, and whoever follows the log waits for it.
            epoch = jobs.withdraw(connection, attempt.id)
            ended = AttemptEnded(state="canceled", summary=REASON)
            append_last(connection, attempt.id, epoch, ended, now)
        settle(connection, task_id)
        return stopped

    return await database.tx(work)


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
