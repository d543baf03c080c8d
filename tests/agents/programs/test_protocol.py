"""A program that is run by the Agent Client Protocol; a stand-in speaks it in a real sandbox."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from overnight.agents.programs.protocol import Lines
from overnight.agents.programs.table import SESSION
from overnight.domain.commands import Arrival
from overnight.domain.conversation import Completion, Request
from overnight.domain.errors import OvernightError
from overnight.domain.events import (
    CommandOutput,
    Event,
    LimitHit,
    PlanStep,
    PlanUpdated,
    SessionResumed,
    StepEnded,
)
from overnight.domain.limits import Limits
from overnight.events.folds import finished_history
from overnight.events.lineage import cut
from overnight.models.scripted import ScriptedModel
from tests.agents.programs.desk import Desk, codex, shell
from tests.agents.working import Letters

pytestmark = pytest.mark.anyio
DONE = Completion(text="Done.")
WORD = Arrival(id="k1", kind="steer", text="Rather in Go, please.")
SPEAKING = msgspec.structs.replace(
    codex(), protocol=("acp",), by_protocol=True, resume=(), keeps=(*codex().keeps, SESSION)
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def of(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def said(model: ScriptedModel, request: int = -1) -> list[str]:
    return [message.text for message in model.requests[request].messages]


async def test_it_works_shows_its_plan_and_is_granted_what_it_asks_for(desk: Desk) -> None:
    model = ScriptedModel([shell("echo one", "s1"), DONE])
    outcome, events = await desk.work(model, program=SPEAKING)
    assert (outcome.summary, outcome.gave_up) == ("Done.", False)
    assert said(model)[-1] == "one\n"
    assert of(events, PlanUpdated) == [PlanUpdated(step=1, steps=(PlanStep("echo one", "doing"),))]
    assert [event.step for event in of(events, StepEnded)] == [1, 2]
    assert not of(events, CommandOutput), "the protocol is no output"


async def test_it_goes_on_with_its_session_in_another_sandbox(desk: Desk) -> None:
    _, events = await desk.work(
        ScriptedModel([shell("echo one", "s1"), shell("echo two", "s2"), DONE]), program=SPEAKING
    )
    model = ScriptedModel([DONE])
    _, after = await desk.work(model, history=cut(finished_history(events), 1), program=SPEAKING)
    assert of(after, SessionResumed) == [SessionResumed(step=1, how="native")]
    assert said(model)[-2:] == ["one\n", "Go on from where you stopped."]


async def test_who_writes_when_its_turn_has_ended_is_heard_in_the_same_session(desk: Desk) -> None:
    model = ScriptedModel([DONE, Completion(text="Done in Go.")])
    outcome, _ = await desk.work(model, inbox=Letters(WORD, after=2), program=SPEAKING)
    assert outcome.summary == "Done in Go."
    assert said(model)[1:] == ["Done.", WORD.text]


async def test_it_is_stopped_at_a_limit_and_by_cancelling(desk: Desk) -> None:
    model = ScriptedModel([shell("echo one", "s1"), DONE])
    outcome, _ = await desk.work(model, limits=Limits(steps=1), program=SPEAKING)
    assert outcome.reached == "steps"
    asked = asyncio.Event()

    def answer(request: Request) -> Completion:
        asked.set()
        return shell("sleep 600", "s1") if len(request.messages) == 1 else DONE

    working = asyncio.ensure_future(desk.work(ScriptedModel(answer), program=SPEAKING))
    await asked.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_program_that_does_not_speak_is_named(desk: Desk) -> None:
    mute = msgspec.structs.replace(SPEAKING, protocol=("--version",))
    with pytest.raises(OvernightError, match="without asking the model"):
        await desk.work(ScriptedModel([DONE]), program=mute)


async def test_what_it_says_is_bounded(desk: Desk) -> None:
    flood = 'yes \'{"jsonrpc": "2.0", "method": "x"}\' | head -c 300000 > /proc/$PPID/fd/1'
    model = ScriptedModel([shell(flood, "s1"), DONE])
    limits = Limits(output_bytes=200_000)
    _, events = await desk.work(model, limits=limits, program=SPEAKING)
    assert "output_bytes" in {event.limit for event in of(events, LimitHit)}


NOISE = (
    b"no JSON", b"[1]", b"7", b"[" * 100_000, b'{"id": [1], "result": 1}', b'{"id": true, "result": 1}',
    b'{"id": 1}', b'{"id": 1, "error": "text"}', b'{"id": 1, "error": {"code": "x", "message": 1}}',
    b'{"method": 5}', b'{"method": "session/update"}',
    b'{"method": "session/update", "params": {"update": 1}}',
    b'{"method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": "other"}}}',
)  # fmt: skip


async def test_noise_never_reaches_the_library() -> None:
    lines = Lines(10_000_000)
    for noise in NOISE:
        lines.hear("stdout", noise + b"\n")
    lines.hear("stdout", b'{"id": 1, ')
    lines.hear("stdout", b'"result": {}}\nrest')
    lines.end()
    assert await lines.receive() == {"id": 1, "result": {}}
    assert await lines.receive() is None


async def test_a_line_without_end_ends_the_talk() -> None:
    lines = Lines(100_000_000)
    for _ in range(20):
        lines.hear("stdout", b"x" * 256 * 1024)
    assert lines.full
    assert await lines.receive() is None
