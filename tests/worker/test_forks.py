"""Forks: conversation and files as they were after a step, of running and ended attempts; what they pin."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from overnight.agents.interface import Assignment
from overnight.blobs.store import BlobStore
from overnight.domain.errors import ConflictError, NotFoundError, UsageError
from overnight.domain.events import AttemptForked, HomeKept, MessageAdded
from overnight.domain.network import parse_network
from overnight.domain.task import Attempt
from overnight.events.folds import finished_history
from overnight.tasks.fork import Fork, fork
from overnight.tasks.views import TaskView
from overnight.tasks.words import follow_up
from tests.house import House
from tests.worker.listening import Listener, Place, place

pytestmark = pytest.mark.anyio


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def other() -> Listener:
    return Listener("other")


@pytest.fixture
async def here(
    house: House, buggy: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener, other: Listener
) -> AsyncGenerator[Place]:
    async with place(house, buggy, monkeypatch, {"listener": listener, "other": other}) as opened:
        yield opened


async def three_steps(here: Place) -> TaskView:
    """Return a task whose attempt was told three words in three turns."""
    task, attempt = await here.submit("one")
    shown = await here.run(task)
    for word in ("two", "three"):
        await follow_up(here.application.database, attempt.id, word, here.now)
        shown = await here.run(task)
    return shown


async def make(here: Place, wanted: Fork) -> Attempt:
    application = here.application
    return await fork(application.database, application.log, wanted, here.now, lambda _: True)


async def conversation(here: Place, attempt_id: str) -> list[str]:
    lineage = await here.application.log.lineage(attempt_id)
    return [one.message.text for one in finished_history(lineage) if isinstance(one, MessageAdded)]


async def test_a_fork_begins_after_a_step_and_copies_nothing(here: Place, listener: Listener) -> None:
    shown = await three_steps(here)
    origin = shown.attempts[0]
    before = sorted(here.application.blobs.digests())
    made = await make(here, Fork(origin=origin.id, step=2, message="told apart"))
    assert (made.number, made.forked_from, made.fork_step) == (2, origin.id, 2)
    assert await here.log(made.id) == [AttemptForked(origin=origin.id, step=2)]
    assert sorted(here.application.blobs.digests()) == before
    listener.seen.clear()
    after = await here.run(shown.task)
    assert listener.seen == [["one", "two"]]
    assert await here.patched(made.id, "said.txt") == "one\ntwo\ntold apart\n"
    assert await here.steps(made.id) == [3], "steps go on counting"
    assert await here.patched(origin.id, "said.txt") == "one\ntwo\nthree\n"
    assert after.attempts[0] == origin, "the origin is what it was"
    assert after.attempts[1].usage.model_calls == 3


async def test_a_fork_of_a_fork(here: Place) -> None:
    shown = await three_steps(here)
    first = await make(here, Fork(origin=shown.attempts[0].id, step=2, message="told apart"))
    await here.run(shown.task)
    second = await make(here, Fork(origin=first.id, step=3, message="and farther"))
    third = await make(here, Fork(origin=first.id, step=1, message="and back"))
    await here.run(shown.task)
    assert await here.patched(second.id, "said.txt") == "one\ntwo\ntold apart\nand farther\n"
    assert await conversation(here, second.id) == ["one", "two", "told apart", "and farther"]
    assert await here.patched(third.id, "said.txt") == "one\nand back\n"
    await follow_up(here.application.database, third.id, "and more", here.now)
    await here.run(shown.task)
    assert await here.patched(third.id, "said.txt") == "one\nand back\nand more\n"


async def test_a_running_attempt_can_be_forked(here: Place) -> None:
    task, origin = await here.submit("wait")
    running = asyncio.create_task(here.run(task))

    async def finished() -> bool:
        return await here.steps(origin.id) == [1]

    await here.until(finished)
    with pytest.raises(NotFoundError, match="no finished step 2"):
        await make(here, Fork(origin=origin.id, step=2))
    made = await make(here, Fork(origin=origin.id, step=1, message="told apart"))

    async def ended() -> bool:
        return (await here.attempt(made.id)).state == "succeeded"

    await here.until(ended)
    assert (await here.attempt(origin.id)).state == "working"
    assert await here.patched(made.id, "said.txt") == "wait\ntold apart\n"
    rewound = await make(here, Fork(origin=origin.id, step=1, message="told again", replaces=True))
    shown = await running
    assert [one.state for one in shown.attempts] == ["canceled", "succeeded", "succeeded"]
    assert shown.attempts[0].superseded_by == rewound.id
    assert shown.attempts[0].message == f"Superseded by attempt 3 ({rewound.id[:8]})."
    with pytest.raises(ConflictError, match="took the place"):
        await make(here, Fork(origin=origin.id, step=1, replaces=True))
    with pytest.raises(ConflictError, match="took the place"):
        await follow_up(here.application.database, origin.id, "more", here.now)


async def test_a_rewound_attempt_takes_over_the_pull_request(here: Place) -> None:
    task, origin = await here.submit("told once", verify=True)
    first = await here.run(task)
    assert first.pull_request is not None
    apart = await make(here, Fork(origin=origin.id, step=1, message="told apart"))
    shown = await here.run(task)
    assert shown.pull_request == first.pull_request, "a fork adds none"
    rewound = await make(here, Fork(origin=origin.id, step=1, message="told better", replaces=True))
    shown = await here.run(task)
    assert shown.pull_request is not None
    # The best of those that stand, which are the fork and the rewound one: both are verified.
    assert shown.pull_request.attempt_id in (apart.id, rewound.id)
    assert shown.pull_request.number == 2
    assert shown.task.picked == shown.pull_request.attempt_id


async def test_the_start_with_a_changed_environment(here: Place, listener: Listener) -> None:
    shown = await three_steps(here)
    origin = shown.attempts[0]
    network = parse_network("none", ("a.example GET",), ())
    limits = msgspec.structs.replace(shown.task.limits, steps=5)
    with pytest.raises(UsageError, match="only be changed at the start"):
        await make(here, Fork(origin=origin.id, step=1, network=network))
    made = await make(here, Fork(origin=origin.id, step=0, limits=limits, network=network))
    seen = shown.task.seen_by(made)
    assert (str(seen.network), seen.limits.steps) == ("a.example GET", 5)
    made = await make(here, Fork(origin=origin.id, step=0, limits=limits))
    listener.seen.clear()
    listener.steps_left.clear()
    # The first of the two cannot run without a sandbox; the second can.
    await here.run(shown.task)
    assert (listener.seen[-1], listener.steps_left[-1]) == ([], 5)
    assert await here.patched(made.id, "said.txt") == "one\n"


async def test_another_agent_gets_the_conversation_as_text(here: Place, other: Listener) -> None:
    shown = await three_steps(here)
    made = await make(here, Fork(origin=shown.attempts[0].id, step=2, agent="other", message="told to other"))
    await here.run(shown.task)
    assert other.seen == [[]]
    text = await here.patched(made.id, "said.txt")
    lines = text.splitlines()
    assert lines[:2] == ["one", "two"]
    assert lines[2] == "one", "it begins with the task"
    assert lines[3].startswith("Another agent (listener) worked on this")
    assert lines[4:] == ["told to other"]
    handed = (await conversation(here, made.id))[-2]
    assert "user: two" in handed
    assert "three" not in handed


async def test_what_makes_no_sense_is_refused(here: Place) -> None:
    shown = await three_steps(here)
    origin = shown.attempts[0].id
    with pytest.raises(NotFoundError, match="no finished step 9"):
        await make(here, Fork(origin=origin, step=9))
    with pytest.raises(UsageError, match="is the last one"):
        await make(here, Fork(origin=origin, step=3))


async def test_a_prune_keeps_what_attempts_may_go_on_from(here: Place) -> None:
    shown = await three_steps(here)
    origin = shown.attempts[0]
    made = await make(here, Fork(origin=origin.id, step=1, message="told apart"))
    assert sweep_now(here.application.blobs) is None
    await here.application.storage.prune(0, None, here.now)
    await here.run(shown.task)
    assert await here.patched(made.id, "said.txt") == "one\ntold apart\n"
    await follow_up(here.application.database, origin.id, "told more", here.now)
    await here.run(shown.task)
    assert await here.patched(origin.id, "said.txt") == "one\ntwo\nthree\ntold more\n"


async def test_a_prune_keeps_the_sessions_that_programs_may_take_up(here: Place, listener: Listener) -> None:
    kept: list[str] = []

    async def keep(assignment: Assignment) -> None:
        kept.append(assignment.artifacts.put(f"session {len(kept)}".encode()))
        assignment.events.emit(HomeKept(step=len(kept), digest=kept[-1]))

    listener.in_step = keep
    shown = await three_steps(here)
    origin = shown.attempts[0]
    await make(here, Fork(origin=origin.id, step=1, message="told apart"))
    sweep_now(here.application.blobs)
    await here.application.storage.prune(0, None, here.now)
    blobs = here.application.blobs
    # Where the fork begins, and the end; from the step between nobody can go on any more.
    assert [blobs.has(digest) for digest in kept] == [True, False, True]


def sweep_now(blobs: BlobStore) -> None:
    """Make every object look so old that a sweep takes it."""
    import os

    for digest in list(blobs.digests()):
        os.utime(blobs.root / digest[:2] / digest[2:], (1.0, 1.0))
