"""Going on: with what a lost worker left, and with what a person paused or what reached a limit."""

from collections.abc import Callable, Mapping

import msgspec
from sqlalchemy import Connection

from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.events import AttemptWaiting
from overnight.domain.ids import short
from overnight.domain.limits import Limits
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt, Task
from overnight.events.log import last_of
from overnight.store import attempts, commands, jobs, tasks
from overnight.store.database import Database
from overnight.tasks.cancel import dead_owners, expire, reopen

TAKEN_BACK = "Taken back: the attempt was resumed."


async def resume(
    database: Database,
    task_id: str,
    now: float,
    is_alive: Callable[[str], bool],
    attempt_id: str | None = None,
    more: Mapping[str, float] | None = None,
) -> tuple[Attempt, ...]:
    """Make the task's unended attempts claimable, or one of them, and return them.

    `is_alive` tells whether the owner of a lease still runs; it is asked outside of the transaction. `more`
    is added to limits, by name; a limit that was reached and is not named is granted once more.

    Raises:
        NotFoundError: there is no such task.
        ConflictError: all of it has ended, a living process works on it, or it waits for an answer.
        UsageError: a limit would get a value that it cannot have.
    """
    dead = await dead_owners(database, now, is_alive)

    def work(connection: Connection) -> tuple[Attempt, ...]:
        task = tasks.get(connection, task_id)
        # An attempt that ended under a worker that died before it closed the task is left over as well.
        left = [
            one
            for one in attempts.of_task(connection, task_id)
            if attempt_id in (None, one.id)
            and (one.state not in TURN_ENDED or jobs.open_of(connection, one.id) is not None)
        ]
        if not left:
            name = f"Task {short(task_id)}" if attempt_id is None else f"Attempt {short(attempt_id)}"
            raise ConflictError(
                f"{name} has ended; there is nothing to resume.",
                f"See how: `overnight task view {short(task_id)}`.",
            )
        expire(connection, dead)
        able = [one for one in left if not _asks(connection, one)]
        if not able:
            raise ConflictError(
                f"Attempt {short(left[0].id)} waits for an answer.",
                f'Give it: overnight task answer {short(left[0].id)} "…"',
            )
        for attempt in able:
            _take_up(connection, task, attempt, now, more or {})
        if any(attempt.state not in TURN_ENDED for attempt in able):
            reopen(connection, task_id)
        return tuple(attempts.get(connection, attempt.id) for attempt in able)

    return await database.tx(work)


def _asks(connection: Connection, attempt: Attempt) -> bool:
    job = jobs.open_of(connection, attempt.id)
    return attempt.state == "needs_input" and job is not None and job.state == "waiting"


def _take_up(
    connection: Connection, task: Task, attempt: Attempt, now: float, more: Mapping[str, float]
) -> None:
    """Make one attempt claimable, unless somebody works on it."""
    owner = jobs.owner_of(connection, attempt.id, now)
    if owner is not None:
        raise ConflictError(
            f"Attempt {short(attempt.id)} is being worked on by {_who(owner)}.",
            f"Watch it: `overnight task logs {short(attempt.id)} --follow`.",
        )
    # A cancel or pause that no worker lived to see: whoever resumes has changed their mind.
    for command in commands.pending(connection, attempt.id, ("cancel", "pause")):
        commands.settle(connection, command.id, "refused", now, TAKEN_BACK)
    if attempt.state == "paused" and not commands.pending(connection, attempt.id, ("resume",)):
        limits = _raised(connection, task, attempt, more)
        attempts.set_limits(connection, attempt.id, limits)
        commands.insert_one(connection, attempt.id, "resume", now, _said(more))
        jobs.wake(connection, attempt.id)
    if jobs.open_of(connection, attempt.id) is None:
        jobs.enqueue(
            connection,
            kind="turn",
            task_id=task.id,
            attempt_id=attempt.id,
            now=now,
            place=attempt.number,
        )


def _raised(connection: Connection, task: Task, attempt: Attempt, more: Mapping[str, float]) -> Limits:
    limits = attempt.limits or task.limits
    last = last_of(connection, attempt.id)
    reached = last.event.limit if last is not None and isinstance(last.event, AttemptWaiting) else ""
    added = dict(more)
    if reached in Limits.__struct_fields__ and reached not in added:
        added[reached] = getattr(task.limits, reached)
    changed = {name: type(getattr(limits, name))(getattr(limits, name) + added[name]) for name in added}
    if any(not value > 0 for value in changed.values()):
        raise UsageError("A limit is greater than 0.", "Give what is added to it: --more steps=100")
    return msgspec.structs.replace(limits, **changed)


def _said(more: Mapping[str, float]) -> str:
    return ",".join(f"{name}+{value:g}" for name, value in more.items())


def _who(text: str) -> str:
    owner = jobs.parse_owner(text)
    return f"process {owner.pid} on {owner.host}" if owner else text
