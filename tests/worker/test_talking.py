"""What people say to an attempt while it lives: told once, in order, whoever dies meanwhile."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from overnight.agents.interface import Assignment
from overnight.domain.errors import ConflictError
from overnight.domain.events import AttemptWaiting, CommandAccepted, CommandRefused, MessageAdded
from overnight.events.folds import finished_history
from overnight.store import jobs
from overnight.tasks.cancel import cancel
from overnight.tasks.pause import pause
from overnight.tasks.resume import resume
from overnight.tasks.words import answer, follow_up, steer
from tests.house import House
from tests.worker.listening import Listener, Place, place

pytestmark = pytest.mark.anyio


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def here(
    house: House, buggy: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> AsyncGenerator[Place]:
    async with place(house, buggy, monkeypatch, {"listener": listener}) as opened:
        yield opened


async def told(here: Place, attempt_id: str) -> list[str]:
    """Return the conversation as the next worker would find it."""
    history = finished_history(await here.log(attempt_id))
    return [event.message.text for event in history if isinstance(event, MessageAdded)]


async def test_a_question_waits_for_its_answer_and_holds_nothing(here: Place, listener: Listener) -> None:
    task, attempt = await here.submit("ask Which colour?")
    shown = await here.run(task)
    assert shown.task.state == "open"
    assert (shown.attempts[0].state, shown.attempts[0].message) == ("needs_input", "Which colour?")
    log = await here.log(attempt.id)
    assert log[-1] == AttemptWaiting(state="needs_input", question="Which colour?", choices=("red", "green"))
    database = here.application.database
    assert await database.read(lambda c: jobs.owner_of(c, attempt.id, here.now)) is None
    assert [path for path in (here.application.settings.data / "workspaces").iterdir() if path.is_dir()] == []
    await here.run(task)
    assert (await here.attempt(attempt.id)).state == "needs_input", "nobody goes on without an answer"
    with pytest.raises(ConflictError, match="waits for an answer"):
        await resume(database, task.id, here.now, lambda _: True)
    with pytest.raises(ConflictError, match="asks a question"):
        await steer(database, attempt.id, "told nothing", here.now)

    await answer(database, attempt.id, "told green", here.now)
    shown = await here.run(task)
    assert (shown.task.state, shown.attempts[0].state) == ("done", "succeeded")
    assert await here.patched(attempt.id, "said.txt") == "ask Which colour?\ntold green\n"
    assert [(one.kind, one.state) for one in await here.said(attempt.id)] == [("answer", "accepted")]
    assert listener.seen == [[], ["ask Which colour?"]]
    with pytest.raises(ConflictError, match="asks nothing"):
        await answer(database, attempt.id, "again", here.now)


async def test_a_reached_limit_pauses_and_a_resume_raises_it(here: Place, listener: Listener) -> None:
    task, attempt = await here.submit("limit")
    await here.run(task)
    assert (await here.attempt(attempt.id)).state == "paused"
    assert (await here.log(attempt.id))[-1] == AttemptWaiting(state="paused", limit="steps")
    await resume(here.application.database, task.id, here.now, lambda _: True, more={"steps": 7})
    await here.run(task)
    limits = (await here.attempt(attempt.id)).limits
    assert limits is not None
    assert limits.steps == task.limits.steps + 7
    assert listener.steps_left == [task.limits.steps, task.limits.steps + 7 - 1]
    assert [(one.kind, one.state) for one in await here.said(attempt.id)] == [("resume", "accepted")]

    other, second = await here.submit("limit")
    await here.run(other)
    await resume(here.application.database, other.id, here.now, lambda _: True)
    raised = (await here.attempt(second.id)).limits
    assert raised is not None
    assert raised.steps == 2 * task.limits.steps, "unnamed, it is granted once more"


async def test_a_steer_reaches_a_running_attempt(here: Place) -> None:
    task, attempt = await here.submit("wait")
    running = asyncio.create_task(here.run(task))
    await here.until(lambda: _finished(here, attempt.id, 1))
    said = await steer(here.application.database, attempt.id, "told by steering", here.now)
    assert said.state == "pending"
    await running
    assert await here.patched(attempt.id, "said.txt") == "wait\ntold by steering\n"
    accepted = [event for event in await here.log(attempt.id) if isinstance(event, CommandAccepted)]
    assert accepted == [CommandAccepted(command_id=said.id, kind="steer", text="told by steering")]
    with pytest.raises(ConflictError, match="has ended"):
        await steer(here.application.database, attempt.id, "too late", here.now)


async def test_a_pause_lays_down_and_a_resume_goes_on(here: Place, listener: Listener) -> None:
    task, attempt = await here.submit("wait")
    running = asyncio.create_task(here.run(task))
    await here.until(lambda: _finished(here, attempt.id, 1))
    database = here.application.database
    assert await pause(database, task.id, None, here.now, lambda _: True) == 1
    assert (await running).attempts[0].state == "paused"
    log = await here.log(attempt.id)
    assert isinstance(log[-2], CommandAccepted)
    assert log[-1] == AttemptWaiting(state="paused")
    with pytest.raises(ConflictError, match="waits already"):
        await pause(database, task.id, None, here.now, lambda _: True)
    await steer(database, attempt.id, "told while paused", here.now)
    await resume(database, task.id, here.now, lambda _: True)
    shown = await here.run(task)
    assert shown.attempts[0].state == "succeeded"
    assert await told(here, attempt.id) == ["wait", "told while paused"]
    assert listener.steps_left[-1] == task.limits.steps - 1, "a person's pause costs nothing"


async def test_what_nobody_works_on_is_paused_and_canceled_at_once(here: Place) -> None:
    task, attempt = await here.submit("told")
    database = here.application.database
    await pause(database, task.id, attempt.id, here.now, lambda _: True)
    assert (await here.attempt(attempt.id)).state == "paused"
    await here.run(task)
    assert (await here.attempt(attempt.id)).state == "paused"
    await steer(database, attempt.id, "never read", here.now)
    assert await cancel(database, task.id, None, here.now) == 1
    assert [(one.kind, one.state) for one in await here.said(attempt.id)] == [
        ("pause", "accepted"),
        ("steer", "refused"),
        ("cancel", "accepted"),
    ]
    assert any(isinstance(event, CommandRefused) for event in await here.log(attempt.id))


async def test_what_is_said_while_the_agent_hands_back_is_told(here: Place, listener: Listener) -> None:
    task, attempt = await here.submit("first")
    late = ["told late"]

    async def say(assignment: Assignment) -> None:
        del assignment
        if late:
            await steer(here.application.database, attempt.id, late.pop(), here.now)

    listener.handing_back = say
    await here.run(task)
    assert await here.patched(attempt.id, "said.txt") == "first\ntold late\n"
    assert listener.seen == [[], ["first"]]


async def test_words_that_a_lost_worker_had_accepted_are_told_again_and_once(
    here: Place, listener: Listener
) -> None:
    task, attempt = await here.submit("wait")
    taken = asyncio.Event()

    async def hang(assignment: Assignment) -> None:
        if b"steer" in (assignment.workspace.read("said.txt") or b""):
            taken.set()
            await asyncio.Event().wait()

    listener.in_step = hang
    running = asyncio.create_task(here.run(task))
    await here.until(lambda: _finished(here, attempt.id, 1))
    said = await steer(here.application.database, attempt.id, "told by steer", here.now)
    async with asyncio.timeout(180):
        await taken.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [one.state for one in await here.said(attempt.id)] == ["accepted"]
    assert await told(here, attempt.id) == ["wait"], "its step was not finished"
    listener.in_step = Listener().in_step
    await here.run(task)
    assert await told(here, attempt.id) == ["wait", "told by steer"]
    log = await here.log(attempt.id)
    accepted = [event for event in log if isinstance(event, CommandAccepted)]
    assert [event.command_id for event in accepted] == [said.id]
    assert await here.patched(attempt.id, "said.txt") == "wait\ntold by steer\n"


async def test_a_canceled_attempt_can_be_told_more(here: Place) -> None:
    task, attempt = await here.submit("wait")
    running = asyncio.create_task(here.run(task))
    await here.until(lambda: _finished(here, attempt.id, 1))
    await cancel(here.application.database, task.id, None, here.now, lambda _: True)
    assert (await running).task.state == "canceled"
    await follow_up(here.application.database, attempt.id, "told after all", here.now)
    shown = await here.run(task)
    assert (shown.task.state, shown.attempts[0].state, shown.attempts[0].turn) == ("done", "succeeded", 2)
    assert [turn.state for turn in shown.turns[attempt.id]] == ["canceled", "succeeded"]
    assert await here.patched(attempt.id, "said.txt") == "wait\ntold after all\n"


async def _finished(here: Place, attempt_id: str, step: int) -> bool:
    return step in await here.steps(attempt_id)
