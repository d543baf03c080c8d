"""Going on with what a lost or interrupted worker left: its leases end, so that the next one may claim."""

from collections.abc import Callable

from sqlalchemy import Connection

from overnight.domain.errors import ConflictError
from overnight.domain.ids import short
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt
from overnight.store import attempts, jobs, tasks
from overnight.store.database import Database


async def resume(
    database: Database, task_id: str, now: float, is_alive: Callable[[str], bool]
) -> tuple[Attempt, ...]:
    """Make the task's unended attempts claimable and return them.

    `is_alive` tells whether the owner of a lease still runs; it is asked outside of the transaction.

    Raises:
        NotFoundError: there is no such task.
        ConflictError: all of it has ended, or a living process works on it.
    """
    owners = await database.read(lambda connection: jobs.owners(connection, now))
    dead = {owner for owner in owners if not is_alive(owner)}

    def work(connection: Connection) -> tuple[Attempt, ...]:
        task = tasks.get(connection, task_id)
        # An attempt that ended under a worker that died before it closed the task is left over as well.
        left = [
            one
            for one in attempts.of_task(connection, task_id)
            if one.state not in TURN_ENDED or jobs.open_of(connection, one.id) is not None
        ]
        if not left:
            raise ConflictError(
                f"Task {short(task_id)} has ended; there is nothing to resume.",
                f"See how: `overnight task view {short(task_id)}`.",
            )
        for owner in dead:
            jobs.expire_owner(connection, owner)
        for attempt in left:
            _take_up(connection, task_id, attempt, now)
        if task.state == "canceled":
            tasks.set_state(connection, task_id, "canceled", "open")
        return tuple(attempts.get(connection, attempt.id) for attempt in left)

    return await database.tx(work)


def _take_up(connection: Connection, task_id: str, attempt: Attempt, now: float) -> None:
    """Make one attempt claimable, unless somebody works on it."""
    owner = jobs.owner_of(connection, attempt.id, now)
    if owner is not None:
        raise ConflictError(
            f"Attempt {short(attempt.id)} is being worked on by {_who(owner)}.",
            f"Watch it: `overnight task logs {short(attempt.id)} --follow`.",
        )
    # A cancel that no worker lived to see: whoever resumes has changed their mind.
    attempts.request_cancel(connection, attempt.id, wanted=False)
    if jobs.open_of(connection, attempt.id) is None:
        jobs.enqueue(
            connection,
            kind="turn",
            task_id=task_id,
            attempt_id=attempt.id,
            now=now,
            place=attempt.number,
        )


def _who(text: str) -> str:
    owner = jobs.parse_owner(text)
    return f"process {owner.pid} on {owner.host}" if owner else text
