"""Tasks, repositories and pull requests."""

import asyncio

import pytest
from sqlalchemy import Connection

from overnight.domain.errors import ConflictError, NotFoundError
from overnight.domain.limits import Limits
from overnight.domain.task import PullRequest, Task
from overnight.store import attempts, jobs, pull_requests, repositories, tasks
from overnight.store.database import Database
from tests.store.rows import a_task, an_attempt

pytestmark = pytest.mark.anyio


def a_pull_request(connection: Connection, number: int = 0) -> PullRequest:
    task = a_task(connection)
    attempt = an_attempt(connection, task)
    return PullRequest(
        number=number, task_id=task.id, attempt_id=attempt.id, repository_id=task.repository_id,
        forge="local", branch="overnight/x", base_ref="main", base_commit="a", head_commit="b",
        title="T", body="B", state="open", created_at=1.0,
    )  # fmt: skip


async def test_a_task_comes_back_as_it_went_in(database: Database) -> None:
    task = await database.tx(a_task)
    assert await database.read(lambda c: tasks.get(c, task.id)) == task
    assert await database.read(lambda c: tasks.find(c, task.id[:8])) == task
    assert task.limits == Limits()


async def test_states_are_compared_and_set(database: Database) -> None:
    task = await database.tx(a_task)
    await database.tx(lambda c: tasks.set_state(c, task.id, "open", "done"))
    with pytest.raises(ConflictError, match="is done, not open"):
        await database.tx(lambda c: tasks.set_state(c, task.id, "open", "canceled"))
    with pytest.raises(ConflictError, match="cannot go from done to canceled"):
        await database.tx(lambda c: tasks.set_state(c, task.id, "done", "canceled"))
    await database.tx(lambda c: tasks.set_state(c, task.id, "done", "open"))


async def test_recent_filters_and_orders(database: Database) -> None:
    def work(connection: Connection) -> list[Task]:
        return [
            a_task(connection, created_at, origin) for created_at, origin in ((1, "/a"), (3, "/a"), (2, "/b"))
        ]

    first, third, second = await database.tx(work)
    assert await database.read(tasks.recent) == (third, second, first)
    assert await database.read(lambda c: tasks.recent(c, limit=1)) == (third,)
    assert await database.read(lambda c: tasks.recent(c, repository_id=first.repository_id)) == (third, first)
    assert await database.read(lambda c: tasks.recent(c, state="done")) == ()


async def test_only_an_own_attempt_is_picked(database: Database) -> None:
    def work(connection: Connection) -> tuple[str, str, str]:
        task, other = a_task(connection), a_task(connection)
        return task.id, an_attempt(connection, task).id, an_attempt(connection, other).id

    task_id, own, strange = await database.tx(work)
    await database.tx(lambda c: tasks.set_picked(c, task_id, own))
    with pytest.raises(NotFoundError, match="has no attempt"):
        await database.tx(lambda c: tasks.set_picked(c, task_id, strange))
    assert (await database.read(lambda c: tasks.get(c, task_id))).picked == own


async def test_removing_a_repository_takes_its_ended_tasks_along(database: Database) -> None:
    def work(connection: Connection) -> tuple[Task, str]:
        stored = pull_requests.insert_one(connection, a_pull_request(connection))
        return tasks.get(connection, stored.task_id), stored.attempt_id

    task, attempt_id = await database.tx(work)
    with pytest.raises(ConflictError, match="still open"):
        await database.tx(lambda c: repositories.remove(c, task.repository_id))
    await database.tx(lambda c: tasks.set_state(c, task.id, "open", "canceled"))
    assert await database.tx(lambda c: repositories.remove(c, task.repository_id)) == (attempt_id,)
    assert await database.read(repositories.every) == ()
    with pytest.raises(NotFoundError):
        await database.read(lambda c: attempts.get(c, attempt_id))
    assert await database.read(lambda c: jobs.open_of(c, attempt_id)) is None


async def test_numbers_have_no_gap_and_no_double(database: Database) -> None:
    opened = await asyncio.gather(
        *(database.tx(lambda c: pull_requests.insert_one(c, a_pull_request(c))) for _ in range(20))
    )
    assert sorted(one.number for one in opened) == list(range(1, 21))


async def test_an_attempt_has_one_pull_request(database: Database) -> None:
    first = await database.tx(lambda c: pull_requests.insert_one(c, a_pull_request(c)))
    again = await database.tx(lambda c: pull_requests.insert_one(c, first))
    assert again == first
    assert await database.read(pull_requests.listing) == (first,)


async def test_a_pull_request_ends_once(database: Database) -> None:
    one = await database.tx(lambda c: pull_requests.insert_one(c, a_pull_request(c)))
    await database.tx(lambda c: pull_requests.set_merged(c, one.number, "f" * 40))
    stored = await database.read(lambda c: pull_requests.get(c, one.number))
    assert (stored.state, stored.merged_commit) == ("merged", "f" * 40)
    with pytest.raises(ConflictError, match="merged already"):
        await database.tx(lambda c: pull_requests.set_closed(c, one.number))
    with pytest.raises(NotFoundError, match="no pull request 77"):
        await database.read(lambda c: pull_requests.get(c, 77))
