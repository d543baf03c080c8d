"""A program goes on: natively from the session it kept, else told as text; and hears people meanwhile."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from overnight.domain.commands import Arrival
from overnight.domain.conversation import Completion, Request
from overnight.domain.events import (
    CommandOutput,
    Event,
    HomeKept,
    LimitHit,
    MessageAdded,
    SessionResumed,
    StepEnded,
)
from overnight.domain.limits import Limits
from overnight.domain.task import Usage
from overnight.events.folds import finished_history
from overnight.events.lineage import cut
from overnight.models.scripted import PROFILE, ScriptedModel
from tests.agents.programs.desk import Desk, codex, shell
from tests.agents.working import Letters

pytestmark = pytest.mark.anyio
DONE = Completion(text="Done.")
WORD = Arrival(id="k1", kind="steer", text="Rather in Go, please.")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def of(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def said(model: ScriptedModel, request: int = -1) -> list[str]:
    """Return the texts of a request's messages."""
    return [message.text for message in model.requests[request].messages]


async def test_the_session_is_kept_at_each_step_and_taken_up_in_another_sandbox(desk: Desk) -> None:
    first = ScriptedModel([shell("echo one > b.txt", "s1"), shell("echo two", "s2"), DONE])
    _, events = await desk.work(first)
    assert [event.step for event in of(events, HomeKept)] == [1, 2, 3]
    history = cut(finished_history(events), 1)
    second = ScriptedModel([Completion(text="Done again.")])
    outcome, after = await desk.work(second, history=history)
    assert of(after, SessionResumed) == [SessionResumed(step=1, how="native")]
    texts = said(second)
    assert texts[1:3] == ["I do s1.", ""]
    assert texts[-1] == "Go on from where you stopped."
    assert "I do s2." not in texts
    assert outcome.summary == "Done again."
    # What is in the log already is not recorded twice.
    assert [event.message.text for event in of(after, MessageAdded)] == [texts[-1], "Done again."]
    assert [event.step for event in of(after, StepEnded)] == [2]


async def test_without_a_session_the_conversation_is_handed_over_as_text(desk: Desk) -> None:
    _, events = await desk.work(ScriptedModel([shell("echo one", "s1"), DONE]))
    history = [event for event in finished_history(events) if not isinstance(event, HomeKept)]
    model = ScriptedModel([DONE])
    _, after = await desk.work(model, history=cut(history, 1))
    assert of(after, SessionResumed) == [SessionResumed(step=1, how="replayed")]
    assert len(said(model)) == 1
    assert "I do s1." in said(model)[0]
    assert "[tool] one" in said(model)[0]


async def test_a_session_that_the_program_does_not_take_is_handed_over_as_text(desk: Desk) -> None:
    _, events = await desk.work(ScriptedModel([shell("rm -rf ~/.codex/sessions", "s1"), DONE]))
    broken = msgspec.structs.replace(codex(), keeps=(".codex/config.toml",))
    _, events = await desk.work(ScriptedModel([shell("echo one", "s1"), DONE]), program=broken)
    model = ScriptedModel([DONE])
    _, after = await desk.work(model, history=cut(finished_history(events), 1), program=broken)
    assert [event.how for event in of(after, SessionResumed)] == ["native", "replayed"]
    assert "I do s1." in said(model)[0]


async def test_a_session_above_the_limit_is_kept_no_more_and_nobody_goes_on_from_an_old_one(
    desk: Desk,
) -> None:
    big = "head -c 300000 /dev/urandom | base64 > ~/.codex/sessions/big"
    model = ScriptedModel([shell("echo one", "s1"), shell(big, "s2"), shell("echo three", "s3"), DONE])
    limits = Limits(home_bytes=200_000, output_bytes=40_000)
    _, events = await desk.work(model, limits=limits)
    assert [(event.step, event.digest != "") for event in of(events, HomeKept)] == [(1, True), (2, False)]
    assert [event.limit for event in of(events, LimitHit)] == ["home_bytes"]
    _, after = await desk.work(ScriptedModel([DONE]), history=cut(finished_history(events), 3))
    assert [event.how for event in of(after, SessionResumed)] == ["replayed"]


async def test_a_session_that_is_larger_than_what_one_command_may_print_is_kept(desk: Desk) -> None:
    big = "head -c 300000 /dev/urandom | base64 > ~/.codex/sessions/big"
    model = ScriptedModel([shell(big, "s1"), DONE])
    _, events = await desk.work(model, limits=Limits(output_bytes=256_000))
    kept = of(events, HomeKept)
    assert kept[0].bytes > 400_000
    again = ScriptedModel([shell("wc -c < ~/.codex/sessions/big", "s2"), DONE])
    await desk.work(again, history=cut(finished_history(events), 1))
    assert [text for text in said(again) if text.strip().isdecimal()] == ["405264\n"]


async def test_a_word_reaches_the_program_with_its_next_request_and_stays_there(desk: Desk) -> None:
    model = ScriptedModel([shell("echo one", "s1"), shell("echo two", "s2"), DONE])
    # The inbox is asked at the beginning, then before each request.
    _, events = await desk.work(model, inbox=Letters(WORD, after=2))
    assert WORD.text not in said(model, 0)
    assert said(model, 1)[-1] == WORD.text
    assert said(model, 2).index(WORD.text) == said(model, 1).index(WORD.text)
    receipts = [(event.command_id, event.step) for event in of(events, MessageAdded) if event.command_id]
    assert receipts == [("k1", 2)]
    # A session that is taken up does not hold it: it is put in again, at its place.
    again = ScriptedModel([DONE])
    _, after = await desk.work(again, history=cut(finished_history(events), 2))
    assert [event.how for event in of(after, SessionResumed)] == ["native"]
    assert said(again).index(WORD.text) == said(model, 1).index(WORD.text)


async def test_who_writes_when_the_program_has_ended_is_heard_in_another_round(desk: Desk) -> None:
    model = ScriptedModel([DONE, shell("echo go > b.txt", "s1"), Completion(text="Done in Go.")])
    outcome, events = await desk.work(model, inbox=Letters(WORD, after=2))
    assert outcome.summary == "Done in Go."
    assert [event.how for event in of(events, SessionResumed)] == ["native"]
    assert said(model, 1)[1:] == ["Done.", WORD.text]
    assert [event.command_id for event in of(events, MessageAdded) if event.command_id] == ["k1"]


async def test_a_finished_attempt_goes_on_with_its_session_when_somebody_writes(desk: Desk) -> None:
    _, events = await desk.work(ScriptedModel([DONE]))
    history = finished_history(events)
    idle = ScriptedModel([])
    assert (await desk.work(idle, history=history))[0].summary == "Done."
    assert not idle.requests
    model = ScriptedModel([Completion(text="And Go.")])
    outcome, _ = await desk.work(model, history=history, inbox=Letters(WORD))
    assert outcome.summary == "And Go."
    assert said(model)[1:] == ["Done.", WORD.text]


ASIDE = (
    "python3 -c 'import json, urllib.request as r; print(r.urlopen(r.Request("
    '"http://model.overnight.internal/v1/chat/completions", json.dumps({"messages": [{"role": "user", '
    '"content": "title"}]}).encode())).status)\' 2>&1 | tail -1'
)


async def test_requests_on_the_side_are_no_steps_and_count_against_the_limits(desk: Desk) -> None:
    def answer(request: Request) -> Completion:
        usage = Usage(model_calls=1, input_tokens=60)
        if not request.tools:
            return Completion(text="A title", usage=usage)
        first = len(request.messages) == 1
        return msgspec.structs.replace(shell(f"{ASIDE}; {ASIDE}", "s1") if first else DONE, usage=usage)

    model = ScriptedModel(answer)
    outcome, events = await desk.work(model, limits=Limits(tokens=100))
    printed = "".join(event.text for event in of(events, CommandOutput))
    assert [len(request.tools) for request in model.requests] == [1, 0], printed
    assert outcome.reached == "tokens"
    assert outcome.usage.input_tokens == 120
    assert [event.step for event in of(events, StepEnded)] == [1]


async def test_a_conversation_that_cannot_fit_is_not_even_recorded(desk: Desk) -> None:
    profile = msgspec.structs.replace(PROFILE, context_tokens=1000)
    model = ScriptedModel([shell("head -c 40000 /dev/zero | tr '\\0' x", "s1")], profile=profile)
    outcome, events = await desk.work(model)
    assert outcome.summary == "I do s1."
    assert len(model.requests) == 1
    assert not [event for event in of(events, MessageAdded) if len(event.message.text) > 10_000]
