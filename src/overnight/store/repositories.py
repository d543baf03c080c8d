"""Repositories by origin: the path or URL that a person gave, made absolute by the caller."""

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from overnight.domain.errors import ConflictError, NotFoundError
from overnight.domain.ids import new_id, short
from overnight.domain.task import Repository
from overnight.store import tasks
from overnight.store.schema import repositories
from overnight.store.schema import tasks as tasks_table


def ensure(connection: Connection, origin: str, now: float) -> Repository:
    """Return the repository of `origin`, made if it is not there yet."""
    row = connection.execute(select(repositories).where(repositories.c.origin == origin)).first()
    if row is not None:
        return _repository(row)
    made = Repository(id=new_id(), origin=origin, created_at=now)
    connection.execute(
        insert(repositories).values(id=made.id, origin=made.origin, created_at=made.created_at)
    )
    return made


def get(connection: Connection, repository_id: str) -> Repository:
    """Return the repository with that id.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(repositories).where(repositories.c.id == repository_id)).first()
    if row is None:
        raise NotFoundError(f"There is no repository {short(repository_id)}.", "See `overnight task list`.")
    return _repository(row)


def find(connection: Connection, origin: str) -> Repository | None:
    """Return the repository of `origin`, None if it was never added."""
    row = connection.execute(select(repositories).where(repositories.c.origin == origin)).first()
    return None if row is None else _repository(row)


def every(connection: Connection) -> tuple[Repository, ...]:
    """Return all repositories by origin."""
    rows = connection.execute(select(repositories).order_by(repositories.c.origin))
    return tuple(_repository(row) for row in rows)


def remove(connection: Connection, repository_id: str) -> tuple[str, ...]:
    """Forget the repository and its ended tasks; return the attempts whose logs remain to be deleted.

    Raises:
        NotFoundError: there is no such repository.
        ConflictError: a task on it is still open.
    """
    repository = get(connection, repository_id)
    rows = connection.execute(
        select(tasks_table.c.id, tasks_table.c.state).where(tasks_table.c.repository_id == repository_id)
    ).all()
    for task_id, state in rows:
        if state == "open":
            raise ConflictError(
                f"Task {short(task_id)} on {repository.origin} is still open.",
                f"Cancel it first: `overnight task cancel {short(task_id)}`.",
            )
    logs = tuple(attempt for task_id, _ in rows for attempt in tasks.remove(connection, task_id))
    connection.execute(delete(repositories).where(repositories.c.id == repository_id))
    return logs


def _repository(row: Row[Any]) -> Repository:
    return Repository(id=row.id, origin=row.origin, created_at=row.created_at)
