"""Tasks in SQL: what was asked, and whether it is still open."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from overnight.domain.errors import ConflictError, NotFoundError
from overnight.domain.ids import short
from overnight.domain.limits import Limits
from overnight.domain.network import Network
from overnight.domain.states import TASK_TRANSITIONS, TaskState
from overnight.domain.task import Task
from overnight.store.prefix import resolve
from overnight.store.schema import NEW, attempts, commands, jobs, pull_requests, tasks, turns

_checks = msgspec.json.Decoder(tuple[str, ...])
_limits = msgspec.json.Decoder(Limits)


def insert_one(connection: Connection, task: Task) -> None:
    """Store a new task; its state must be `open`."""
    connection.execute(
        insert(tasks).values(
            id=task.id,
            repository_id=task.repository_id,
            prompt=task.prompt,
            base_ref=task.base_ref,
            base_commit=task.base_commit,
            previous_state=NEW,
            state=task.state,
            checks=msgspec.json.encode(task.checks).decode(),
            verify=task.verify,
            allow_test_changes=task.allow_test_changes,
            lend_setup_secrets=task.lend_setup_secrets,
            sandbox=task.sandbox,
            limits=msgspec.json.encode(task.limits).decode(),
            created_at=task.created_at,
            picked=task.picked,
            network=msgspec.json.encode(task.network).decode(),
        )
    )


def get(connection: Connection, task_id: str) -> Task:
    """Return the task with that id.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(tasks).where(tasks.c.id == task_id)).first()
    if row is None:
        raise NotFoundError(f"There is no task {short(task_id)}.", "See `overnight task list`.")
    return _task(row)


def find(connection: Connection, prefix: str) -> Task:
    """Return the task whose id begins with `prefix`.

    Raises:
        NotFoundError: no task's id begins so.
        UsageError: the prefix is too short or fits several tasks.
    """
    return get(connection, resolve(connection, tasks, prefix, "task"))


def recent(
    connection: Connection,
    *,
    repository_id: str | None = None,
    state: str | None = None,
    limit: int = 50,
) -> tuple[Task, ...]:
    """Return up to `limit` tasks, newest first."""
    query = select(tasks)
    if repository_id is not None:
        query = query.where(tasks.c.repository_id == repository_id)
    if state is not None:
        query = query.where(tasks.c.state == state)
    query = query.order_by(tasks.c.created_at.desc(), tasks.c.id).limit(limit)
    return tuple(_task(row) for row in connection.execute(query))


def set_state(connection: Connection, task_id: str, before: TaskState, after: TaskState) -> None:
    """Change the state from `before` to `after`.

    Raises:
        ConflictError: the task is not in `before`, or the table of states forbids the change.
    """
    if (before, after) not in TASK_TRANSITIONS:
        raise ConflictError(f"A task cannot go from {before} to {after}.")
    changed = connection.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.state == before)
        .values(previous_state=before, state=after)
    )
    if changed.rowcount == 0:
        state = get(connection, task_id).state
        raise ConflictError(f"Task {short(task_id)} is {state}, not {before}.", "Look at it again.")


def set_picked(connection: Connection, task_id: str, attempt_id: str | None) -> None:
    """Note which attempt was picked.

    Raises:
        NotFoundError: there is no such task, or the attempt is not one of its own.
    """
    if attempt_id is not None:
        own = select(attempts.c.id).where(attempts.c.id == attempt_id, attempts.c.task_id == task_id)
        if connection.execute(own).first() is None:
            raise NotFoundError(f"Task {short(task_id)} has no attempt {short(attempt_id)}.")
    changed = connection.execute(update(tasks).where(tasks.c.id == task_id).values(picked=attempt_id))
    if changed.rowcount == 0:
        raise NotFoundError(f"There is no task {short(task_id)}.", "See `overnight task list`.")


def remove(connection: Connection, task_id: str) -> tuple[str, ...]:
    """Forget the task and all that hangs on it; return the attempts whose logs remain to be deleted."""
    own = select(attempts.c.id).where(attempts.c.task_id == task_id)
    logs = tuple(connection.execute(own).scalars())
    connection.execute(delete(pull_requests).where(pull_requests.c.task_id == task_id))
    connection.execute(delete(jobs).where(jobs.c.task_id == task_id))
    connection.execute(delete(commands).where(commands.c.attempt_id.in_(own)))
    connection.execute(delete(turns).where(turns.c.attempt_id.in_(own)))
    connection.execute(delete(attempts).where(attempts.c.task_id == task_id))
    connection.execute(delete(tasks).where(tasks.c.id == task_id))
    return logs


def _task(row: Row[Any]) -> Task:
    return Task(
        id=row.id,
        repository_id=row.repository_id,
        prompt=row.prompt,
        base_ref=row.base_ref,
        base_commit=row.base_commit,
        state=row.state,
        checks=_checks.decode(row.checks),
        verify=row.verify,
        allow_test_changes=row.allow_test_changes,
        lend_setup_secrets=row.lend_setup_secrets,
        sandbox=row.sandbox,
        limits=_limits.decode(row.limits),
        created_at=row.created_at,
        picked=row.picked,
        network=_network(row.network),
    )


def _network(text: str | None) -> Network:
    """Return what was granted; what cannot be read grants nothing."""
    try:
        return msgspec.json.decode(text or "", type=Network)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Network()
