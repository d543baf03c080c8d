"""What anyone may do with tasks: submit, look, cancel, resume."""

import asyncio
import math

import msgspec
import pytest

from overnight.domain.commands import STOPS
from overnight.domain.errors import ConflictError, NotFoundError, StaleLeaseError, UsageError
from overnight.domain.events import AttemptEnded, CommandAccepted, Noted
from overnight.domain.limits import Limits
from overnight.domain.network import parse_rule
from overnight.domain.ports import SystemClock
from overnight.domain.task import Attempt, Task
from overnight.events.log import EventLog
from overnight.store import attempts, commands, jobs, repositories, tasks
from overnight.store.database import Database
from overnight.store.jobs import Job
from overnight.tasks.cancel import cancel
from overnight.tasks.resume import resume
from overnight.tasks.retry import again
from overnight.tasks.submit import Submission, submit
from overnight.tasks.views import find, listing, pick, view
from overnight.tasks.words import follow_up

pytestmark = pytest.mark.anyio

OWNER = "box:4242:777"


async def a_submission(database: Database) -> Submission:
    repository = await database.tx(lambda c: repositories.ensure(c, "/repo", 1.0))
    return Submission(
        repository_id=repository.id,
        prompt="  Fix the bug\n",
        base_ref="main",
        base_commit="c" * 40,
        attempts=(("repair", "embedded"), ("loop", "openai:x")),
        checks=("pytest",),
    )


async def test_a_retry_asks_the_same_with_more_of_the_network(database: Database) -> None:
    task, made = await submitted(database)
    again_task, again_made = await submit(
        database, again(task, made, [parse_rule("a.example GET")]), SystemClock()
    )
    assert again_task.id != task.id
    assert (again_task.prompt, again_task.checks, again_task.base_commit) == (
        task.prompt, task.checks, task.base_commit,
    )  # fmt: skip
    assert [(one.agent, one.model) for one in again_made] == [(one.agent, one.model) for one in made]
    stored = (await view(database, again_task.id)).task
    assert str(stored.network) == "a.example GET"
    assert task.network.closed


async def submitted(database: Database) -> tuple[Task, tuple[Attempt, ...]]:
    return await submit(database, await a_submission(database), SystemClock())


async def claimed(database: Database, task: Task, now: float = 100.0) -> Job:
    job = await database.tx(
        lambda c: jobs.claim(c, owner=OWNER, now=now, lease_seconds=10.0, capacity=9, task_id=task.id)
    )
    assert job is not None
    return job


async def started(database: Database, job: Job) -> None:
    await database.tx(lambda c: attempts.advance(c, job.attempt_id, "queued", "preparing", 100.0))


async def ended(database: Database, job: Job) -> None:
    await database.tx(lambda c: attempts.advance(c, job.attempt_id, "preparing", "failed", 100.0))


async def states(database: Database, task: Task) -> tuple[str, list[str]]:
    shown = await view(database, task.id)
    return shown.task.state, [one.state for one in shown.attempts]


async def test_submit_stores_all_of_it(database: Database) -> None:
    task, made = await submitted(database)
    assert task.prompt == "Fix the bug"
    shown = await view(database, task.id[:8])
    assert (shown.task, shown.attempts) == (task, made)
    assert shown.repository.origin == "/repo"
    assert shown.pull_request is None
    assert [(one.number, one.agent, one.model) for one in made] == [
        (1, "repair", "embedded"),
        (2, "loop", "openai:x"),
    ]
    claims = [await claimed(database, task) for _ in made]
    assert [job.attempt_id for job in claims] == [one.id for one in made]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": " \n"}, "task is empty"),
        ({"prompt": "x" * 1_000_001}, "characters long"),
        ({"attempts": ()}, "0 attempts"),
        ({"attempts": (("repair", "m"),) * 101}, "101 attempts"),
        ({"attempts": (("repair", ""),)}, "no agent or no model"),
        ({"checks": ("pytest", " ")}, "check is empty"),
        ({"base_commit": ""}, "no base commit"),
        ({"limits": Limits(steps=0)}, "limit steps is 0"),
        ({"limits": Limits(attempt_seconds=math.nan)}, "limit attempt_seconds is nan"),
    ],
)
async def test_nonsense_is_refused(database: Database, change: dict[str, object], message: str) -> None:
    submission = msgspec.structs.replace(await a_submission(database), **change)
    with pytest.raises(UsageError, match=message):
        await submit(database, submission, SystemClock())
    assert await listing(database) == ()


async def test_an_unknown_repository_is_refused(database: Database) -> None:
    submission = msgspec.structs.replace(await a_submission(database), repository_id="0" * 32)
    with pytest.raises(NotFoundError):
        await submit(database, submission, SystemClock())
    assert await database.read(tasks.recent) == ()


async def test_finding_a_task_or_an_attempt(database: Database) -> None:
    task, made = await submitted(database)
    assert await find(database, task.id) == (await view(database, task.id), None)
    shown, attempt = await find(database, made[1].id[:12])
    assert (shown.task, attempt) == (task, made[1])
    with pytest.raises(NotFoundError):
        await find(database, "nothing")
    await pick(database, made[1].id)
    assert (await view(database, task.id)).task.picked == made[1].id


async def test_what_waits_is_canceled_at_once(database: Database) -> None:
    task, made = await submitted(database)
    assert await cancel(database, task.id, made[0].id, 100.0) == 1
    assert await states(database, task) == ("open", ["canceled", "queued"])
    assert await cancel(database, task.id, None, 100.0) == 1
    assert await states(database, task) == ("canceled", ["canceled", "canceled"])
    assert await cancel(database, task.id, None, 100.0) == 0
    log = EventLog(database, SystemClock())
    said = await database.read(lambda c: [commands.of_attempt(c, one.id)[0] for one in made])
    assert [one.state for one in said] == ["accepted"] * 2
    async with asyncio.timeout(120):
        assert [[item.event async for item in log.follow(one.id)] for one in made] == [
            [
                CommandAccepted(command_id=one.id, kind="cancel"),
                AttemptEnded(state="canceled", summary="Canceled by a person."),
            ]
            for one in said
        ]
    assert await database.read(lambda c: jobs.pending(c, task.id)) == 0


async def test_what_runs_is_asked_to_stop(database: Database) -> None:
    task, made = await submitted(database)
    job = await claimed(database, task)
    await started(database, job)
    assert await cancel(database, task.id, made[0].id, 101.0, lambda _: True) == 1
    assert await states(database, task) == ("open", ["preparing", "queued"])
    assert await cancel(database, task.id, made[0].id, 101.0, lambda _: True) == 1
    (said,) = await database.read(lambda c: commands.pending_for(c, OWNER, STOPS))
    assert (said.attempt_id, said.kind, said.state) == (job.attempt_id, "cancel", "pending")


async def test_what_ran_in_a_dead_process_is_canceled_at_once(database: Database) -> None:
    task, made = await submitted(database)
    log = EventLog(database, SystemClock())
    job = await claimed(database, task)
    await started(database, job)
    writer = await log.writer(made[0].id, job.epoch)
    writer.emit(Noted(text="alive"))
    await writer.flush()
    assert await cancel(database, task.id, made[0].id, 101.0, lambda owner: owner != OWNER) == 1
    writer.emit(Noted(text="not as dead as it seemed"))
    with pytest.raises(StaleLeaseError):
        await writer.flush()
    assert [item.seq async for item in log.follow(made[0].id)] == [1, 2, 3]
    assert await states(database, task) == ("open", ["canceled", "queued"])


async def test_resume_takes_over_from_the_dead_only(database: Database) -> None:
    task, made = await submitted(database)
    first = await claimed(database, task)
    await started(database, first)
    with pytest.raises(ConflictError, match="worked on by process 4242 on box"):
        await resume(database, task.id, 101.0, lambda _: True)
    assert await database.read(lambda c: jobs.owner_of(c, made[0].id, 101.0)) == OWNER
    await database.tx(lambda c: commands.insert_one(c, made[0].id, "cancel", 101.0))
    left = await resume(database, task.id, 101.0, lambda _: False)
    assert [one.id for one in left] == [one.id for one in made]
    (said,) = await database.read(lambda c: commands.of_attempt(c, made[0].id))
    assert (said.state, said.reason) == ("refused", "Taken back: the attempt was resumed.")
    again = await claimed(database, task, now=101.0)
    assert (again.attempt_id, again.epoch) == (made[0].id, first.epoch + 1)


async def test_resume_says_when_there_is_nothing_left(database: Database) -> None:
    task, _ = await submitted(database)
    await cancel(database, task.id, None, 100.0)
    with pytest.raises(ConflictError, match="nothing to resume"):
        await resume(database, task.id, 101.0, lambda _: False)
    with pytest.raises(NotFoundError):
        await resume(database, "0" * 32, 101.0, lambda _: False)


async def test_resume_takes_up_a_task_that_was_not_closed(database: Database) -> None:
    task, made = await submitted(database)
    for _ in made:
        job = await claimed(database, task)
        await started(database, job)
        await ended(database, job)
    # Killed before the task was closed: the jobs are still there, and whoever claims them closes it.
    assert len(await resume(database, task.id, 101.0, lambda _: False)) == 2
    assert (await claimed(database, task, now=101.0)).epoch == 2


async def test_a_follow_up_takes_over_a_job_that_nobody_lived_to_finish(database: Database) -> None:
    task, made = await submitted(database)
    job = await claimed(database, task)
    await started(database, job)
    await ended(database, job)
    begun = await follow_up(database, made[0].id, " More. ", 101.0)
    assert (begun.turn, begun.state, begun.prompt) == (2, "queued", "More.")
    with pytest.raises(StaleLeaseError):
        await database.tx(lambda c: jobs.finish(c, job))
    claims = [await claimed(database, task, now=102.0) for _ in made]
    (again,) = [one for one in claims if one.attempt_id == made[0].id]
    assert again.epoch > job.epoch
