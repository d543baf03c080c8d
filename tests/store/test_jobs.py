"""The queue: order, capacity, leases, fencing; several processes at once."""

import asyncio
import functools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Connection

from overnight.domain.errors import StaleLeaseError
from overnight.domain.task import Attempt
from overnight.store import attempts, jobs
from overnight.store.database import Database
from overnight.store.jobs import Job
from tests.store.rows import a_task, an_attempt

pytestmark = pytest.mark.anyio


def take(
    connection: Connection,
    owner: str = "h:1:s",
    now: float = 100.0,
    capacity: int = 9,
    task: str | None = None,
) -> Job | None:
    return jobs.claim(connection, owner=owner, now=now, lease_seconds=10.0, capacity=capacity, task_id=task)


def must_take(connection: Connection, owner: str = "h:1:s", now: float = 100.0) -> Job:
    job = take(connection, owner, now)
    assert job is not None
    return job


def beat(connection: Connection, job: Job) -> None:
    jobs.beat(connection, job, 111.0, 10.0)


def three_attempts(connection: Connection) -> list[Attempt]:
    old, new = a_task(connection, created_at=1.0), a_task(connection, created_at=2.0)
    return [an_attempt(connection, new), an_attempt(connection, old, 2), an_attempt(connection, old, 1)]


async def test_the_oldest_goes_first(database: Database) -> None:
    newest, second, first = await database.tx(three_attempts)
    claimed = [await database.tx(must_take) for _ in range(3)]
    assert [job.attempt_id for job in claimed] == [first.id, second.id, newest.id]
    assert [job.epoch for job in claimed] == [1, 1, 1]
    assert await database.tx(take) is None


async def test_a_task_of_its_own(database: Database) -> None:
    newest, *_ = await database.tx(three_attempts)
    job = await database.tx(lambda c: take(c, task=newest.task_id))
    assert job is not None
    assert job.attempt_id == newest.id
    assert await database.tx(lambda c: take(c, task=newest.task_id)) is None
    assert await database.read(lambda c: jobs.pending(c, newest.task_id)) == 1


async def test_capacity_counts_live_leases_of_everybody(database: Database) -> None:
    await database.tx(three_attempts)
    assert await database.tx(lambda c: take(c, "h:1:s", capacity=2))
    assert await database.tx(lambda c: take(c, "h:2:s", capacity=2))
    assert await database.tx(lambda c: take(c, "h:3:s", capacity=2)) is None
    assert await database.read(lambda c: jobs.running(c, 100.0)) == 2
    # Both leases are over by then, and their jobs may be taken as well.
    assert await database.tx(lambda c: take(c, "h:3:s", now=111.0, capacity=2))


async def test_a_lost_lease_is_fenced(database: Database) -> None:
    attempt = await database.tx(lambda c: an_attempt(c, a_task(c)))
    old = await database.tx(must_take)
    assert await database.tx(lambda c: take(c, "h:2:s", now=109.0)) is None
    new = await database.tx(lambda c: must_take(c, "h:2:s", now=110.0))
    assert (new.id, new.epoch) == (old.id, old.epoch + 1)
    for act in (jobs.check, jobs.finish, jobs.release, beat):
        with pytest.raises(StaleLeaseError):
            await database.tx(functools.partial(act, job=old))
    await database.tx(lambda c: jobs.check(c, new))
    assert await database.read(lambda c: jobs.owner_of(c, attempt.id, 111.0)) == "h:2:s"


async def test_a_late_beat_keeps_what_nobody_took(database: Database) -> None:
    await database.tx(lambda c: an_attempt(c, a_task(c)))
    job = await database.tx(must_take)
    await database.tx(lambda c: jobs.beat(c, job, 500.0, 10.0))
    assert await database.tx(lambda c: take(c, "h:2:s", now=505.0)) is None


async def test_a_parked_job_is_claimed_by_nobody_until_it_is_woken(database: Database) -> None:
    attempt = await database.tx(lambda c: an_attempt(c, a_task(c)))
    job = await database.tx(must_take)
    await database.tx(lambda c: jobs.park(c, job))
    assert await database.tx(lambda c: take(c, now=1e9)) is None
    assert await database.read(lambda c: jobs.pending(c, attempt.task_id)) == 0
    assert await database.read(lambda c: jobs.owner_of(c, attempt.id, 101.0)) is None
    with pytest.raises(StaleLeaseError):
        await database.tx(lambda c: jobs.finish(c, job))
    assert await database.tx(lambda c: jobs.wake(c, attempt.id)) is True
    assert await database.tx(lambda c: jobs.wake(c, attempt.id)) is False
    assert (await database.tx(must_take)).epoch == 2


async def test_release_finish_expire_withdraw(database: Database) -> None:
    attempt = await database.tx(lambda c: an_attempt(c, a_task(c)))
    first = await database.tx(must_take)
    await database.tx(lambda c: jobs.release(c, first))
    second = await database.tx(lambda c: must_take(c, "h:2:s"))
    assert second.epoch == 2
    assert await database.read(lambda c: jobs.owners(c, 100.0)) == ("h:2:s",)
    assert await database.tx(lambda c: jobs.expire_owner(c, "h:2:s")) == 1
    third = await database.tx(lambda c: must_take(c, "h:3:s"))
    await database.tx(lambda c: jobs.finish(c, third))
    assert await database.tx(take) is None
    assert await database.read(lambda c: jobs.open_of(c, attempt.id)) is None
    later = await database.tx(
        lambda c: jobs.enqueue(c, kind="turn", task_id=attempt.task_id, attempt_id=attempt.id, now=1.0)
    )
    # A later turn goes on counting, or the log would refuse its chunks.
    assert later.epoch == 3
    fourth = await database.tx(must_take)
    await database.tx(lambda c: jobs.withdraw(c, attempt.id))
    with pytest.raises(StaleLeaseError):
        await database.tx(lambda c: jobs.check(c, fourth))


def test_owners_are_parsed() -> None:
    assert jobs.parse_owner("box:12:998877") == jobs.Owner(host="box", pid=12, start="998877")
    for text in ("", "box", "box:x:1", "box:1", ":1:1", "box:1:"):
        assert jobs.parse_owner(text) is None


CLAIMER = """
import asyncio, json, pathlib, sys
from overnight.store import attempts, jobs
from overnight.store.database import Database
from overnight.domain.task import Usage
async def main():
    owner, capacity = sys.argv[2], int(sys.argv[3])
    database = await Database.open(pathlib.Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    taken, most = [], 0
    def claim(c):
        job = jobs.claim(c, owner=owner, now=1.0, lease_seconds=600.0, capacity=capacity)
        return job, jobs.running(c, 1.0), jobs.pending(c, sys.argv[4])
    def finish(c, job):
        # Read, change, write: a lost update would show in the sum.
        before = attempts.get(c, sys.argv[5]).usage
        attempts.record(c, sys.argv[5], usage=before + Usage(model_calls=1))
        jobs.finish(c, job)
    while True:
        job, running, pending = await database.tx(claim)
        most = max(most, running)
        if job is None:
            if pending == 0:
                break
            continue
        taken.append(job.attempt_id)
        await database.tx(lambda c: finish(c, job))
    await database.close()
    print(json.dumps({"taken": taken, "most": most}), flush=True)
asyncio.run(main())
"""


async def test_processes_share_the_queue(database: Database, path: Path) -> None:
    def rows(connection: Connection) -> tuple[str, str, list[str]]:
        task = a_task(connection)
        made = [an_attempt(connection, task, number).id for number in range(1, 61)]
        counter = an_attempt(connection, a_task(connection), queue=False)
        return task.id, counter.id, made

    task_id, counter, made = await database.tx(rows)
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLAIMER, str(path), f"h:{number}:s", "2", task_id, counter,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for number in range(3)
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
    results = [
        json.loads(out) for out, _ in await asyncio.gather(*(c.communicate(b"go\n") for c in children))
    ]
    taken = Counter(attempt for result in results for attempt in result["taken"])
    assert taken == Counter(made)
    assert max(result["most"] for result in results) <= 2
    stored = await database.read(lambda c: attempts.get(c, counter))
    assert stored.usage.model_calls == len(made)
