"""Pull requests in SQL. Numbers are the highest so far plus one, guarded by the primary key."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from overnight.domain.errors import ConflictError, NotFoundError
from overnight.domain.task import PullRequest
from overnight.store.schema import pull_requests


def insert_one(connection: Connection, pull_request: PullRequest) -> PullRequest:
    """Store a pull request and return it with its number; a `number` of 0 asks for the next one.

    An attempt has at most one: asked again, as after a crash, the one that stands is returned.
    """
    standing = of_attempt(connection, pull_request.attempt_id)
    if standing is not None:
        return standing
    number = pull_request.number
    if number == 0:
        highest = select(func.max(pull_requests.c.number)).where(pull_requests.c.forge == pull_request.forge)
        number = (connection.execute(highest).scalar() or 0) + 1
    stored = msgspec.structs.replace(pull_request, number=number)
    connection.execute(insert(pull_requests).values(**msgspec.structs.asdict(stored)))
    return stored


def get(connection: Connection, number: int, forge: str = "local") -> PullRequest:
    """Return the pull request with that number.

    Raises:
        NotFoundError: there is none.
    """
    query = select(pull_requests).where(pull_requests.c.forge == forge, pull_requests.c.number == number)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"There is no pull request {number}.", "See `overnight pr list`.")
    return _pull_request(row)


def of_attempt(connection: Connection, attempt_id: str) -> PullRequest | None:
    """Return the attempt's pull request, if it has one."""
    row = connection.execute(select(pull_requests).where(pull_requests.c.attempt_id == attempt_id)).first()
    return None if row is None else _pull_request(row)


def of_task(connection: Connection, task_id: str) -> tuple[PullRequest, ...]:
    """Return the task's pull requests, newest first."""
    query = select(pull_requests).where(pull_requests.c.task_id == task_id)
    query = query.order_by(pull_requests.c.created_at.desc(), pull_requests.c.number.desc())
    return tuple(_pull_request(row) for row in connection.execute(query))


def listing(
    connection: Connection, *, repository_id: str | None = None, state: str | None = None, limit: int = 50
) -> tuple[PullRequest, ...]:
    """Return up to `limit` pull requests, newest first."""
    query = select(pull_requests)
    if repository_id is not None:
        query = query.where(pull_requests.c.repository_id == repository_id)
    if state is not None:
        query = query.where(pull_requests.c.state == state)
    query = query.order_by(pull_requests.c.created_at.desc(), pull_requests.c.number.desc()).limit(limit)
    return tuple(_pull_request(row) for row in connection.execute(query))


def set_head(connection: Connection, request: PullRequest) -> None:
    """Store where the branch of an open pull request stands now, on which base, and its description.

    Raises:
        ConflictError: it is not open.
    """
    _change(
        connection,
        request.forge,
        request.number,
        head_commit=request.head_commit,
        base_commit=request.base_commit,
        body=request.body,
    )


def set_merged(connection: Connection, number: int, commit: str, forge: str = "local") -> None:
    """Note that it was merged as `commit`.

    Raises:
        ConflictError: it is not open.
    """
    _change(connection, forge, number, state="merged", merged_commit=commit)


def set_closed(connection: Connection, number: int, forge: str = "local") -> None:
    """Note that it was closed without a merge.

    Raises:
        ConflictError: it is not open.
    """
    _change(connection, forge, number, state="closed")


def _change(connection: Connection, forge: str, number: int, **values: str) -> None:
    changed = connection.execute(
        update(pull_requests)
        .where(
            pull_requests.c.forge == forge,
            pull_requests.c.number == number,
            pull_requests.c.state == "open",
        )
        .values(**values)
    )
    if changed.rowcount == 0:
        state = get(connection, number, forge).state
        raise ConflictError(f"Pull request {number} is {state} already.")


def _pull_request(row: Row[Any]) -> PullRequest:
    return PullRequest(
        number=row.number,
        task_id=row.task_id,
        attempt_id=row.attempt_id,
        repository_id=row.repository_id,
        forge=row.forge,
        branch=row.branch,
        base_ref=row.base_ref,
        base_commit=row.base_commit,
        head_commit=row.head_commit,
        title=row.title,
        body=row.body,
        state=row.state,
        created_at=row.created_at,
        merged_commit=row.merged_commit,
    )
