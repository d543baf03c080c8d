"""People and the loop: steering, questions, plans, budgets that wait; and reading actions side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from overnight.agents.loop import Loop
from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.domain.commands import Arrival
from overnight.domain.conversation import Completion, ToolSpec
from overnight.domain.events import (
    Event,
    LimitHit,
    MessageAdded,
    MessageDelta,
    PlanStep,
    PlanUpdated,
    QuestionAsked,
    StepEnded,
    StuckNoticed,
)
from overnight.domain.limits import Limits
from overnight.domain.task import Usage
from overnight.events.folds import finished_history
from overnight.models.scripted import ScriptedModel
from tests.agents.repair.workplace import Workplace
from tests.agents.working import DONE, Letters, call, calls, scripted, work

pytestmark = pytest.mark.anyio
WORD = Arrival(id="k1", kind="steer", text="Rather in Go, please.")


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, {"a.txt": "a\n", "b.txt": "b\n"})


async def test_a_person_reaches_the_agent_after_the_action_that_goes_on(place: Workplace) -> None:
    three = calls(
        ("shell", {"command": "echo first"}),
        ("shell", {"command": "echo second > second.txt"}),
        ("shell", {"command": "echo third"}),
    )
    # It looks once at the beginning, once before its first request, then after each action.
    worked = await work(place, three, DONE, inbox=Letters(WORD, after=2))
    first, second, third = worked.results
    assert first.startswith("first")
    assert "a person sent a message first" in second
    assert second == third
    assert worked.text("second.txt") is None
    last = worked.model.requests[-1].messages[-1]
    assert (last.role, last.text) == ("user", WORD.text)
    receipts = [event for event in worked.of(MessageAdded) if event.command_id]
    assert [(event.command_id, event.step) for event in receipts] == [("k1", 2)]


async def test_who_writes_while_the_agent_hands_back_is_still_heard(place: Workplace) -> None:
    worked = await work(place, DONE, Completion(text="Done in Go."), inbox=Letters(WORD, after=2))
    assert worked.outcome.summary == "Done in Go."
    assert len(worked.model.requests) == 2


async def test_a_finished_attempt_goes_on_when_somebody_writes(place: Workplace) -> None:
    first = await work(place, DONE)
    history = finished_history(first.events)
    assert (await work(place, history=history)).outcome.summary == "Done."
    second = await work(place, Completion(text="And Go."), history=history, inbox=Letters(WORD))
    assert second.outcome.summary == "And Go."
    assert [message.text for message in second.model.requests[0].messages[-2:]] == ["Done.", WORD.text]


ASKING = calls(
    ("ask", {"question": "Which language?", "choices": ["Go", "Rust"]}),
    ("shell", {"command": "touch too-early"}),
)


async def test_a_question_waits_for_its_answer_through_a_restart(place: Workplace) -> None:
    first = await work(place, ASKING)
    assert (first.outcome.question, first.outcome.choices) == ("Which language?", ("Go", "Rust"))
    assert not first.outcome.gave_up
    assert first.text("too-early") is None
    assert [event.text for event in first.of(QuestionAsked)] == ["Which language?"]
    history = finished_history(first.events)
    assert isinstance(history[-1], StepEnded)
    # Nobody answered: whoever takes it up waits again, and asks no model.
    waiting = await work(place, history=history)
    assert waiting.outcome.question == "Which language?"
    assert waiting.events == []
    answer = Arrival(id="k2", kind="answer", text="Go")
    second = await work(place, DONE, history=history, inbox=Letters(answer))
    assert second.outcome.summary == "Done."
    results = [item for item in second.model.requests[0].messages if item.role == "tool"]
    assert [(item.tool_call_id, item.text) for item in results][-1] == ("c1", "Go")
    assert {item.tool_call_id for item in results} == {"c1", "c1-1"}
    assert [event.command_id for event in second.of(MessageAdded) if event.message.role == "tool"] == ["k2"]
    # The answer is part of the conversation from now on.
    third = await work(place, history=finished_history([*history, *second.events]))
    assert third.outcome.summary == "Done."


@pytest.mark.parametrize("arguments", [{}, {"question": " "}, {"question": 3}])
async def test_a_question_without_words_is_refused(place: Workplace, arguments: dict[str, Any]) -> None:
    worked = await work(place, call("ask", arguments), DONE)
    assert "`question`" in worked.told
    assert worked.of(QuestionAsked) == []


async def test_the_plan_is_an_event(place: Workplace) -> None:
    steps = [{"text": "look\n around", "state": "done"}, {"text": "mend", "state": "doing"}]
    worked = await work(place, call("plan", {"steps": steps}), call("plan", {"steps": [{"text": ""}]}), DONE)
    assert worked.of(PlanUpdated) == [
        PlanUpdated(step=1, steps=(PlanStep("look around", "done"), PlanStep("mend", "doing")))
    ]
    assert worked.results[0] == "Noted."
    assert "`steps` must be" in worked.results[1]


class Meeting:
    """A tool that ends only when so many calls of it run at the same time."""

    read_only = True
    spec = ToolSpec(name="meet", description="Meets.", parameters={"type": "object"})

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._here = 0
        self._all = anyio.Event()

    def summary(self, arguments: Mapping[str, Any]) -> str:
        return str(arguments["who"])

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        self._here += 1
        if self._here == self._parties:
            self._all.set()
        await self._all.wait()
        return ToolResult(f"{arguments['who']} of {self._here}")


class Counting:
    """A tool that changes things: never two at a time."""

    read_only = False
    spec = ToolSpec(name="count", description="Counts.", parameters={"type": "object"})

    def __init__(self) -> None:
        self.running = self.most = 0

    def summary(self, arguments: Mapping[str, Any]) -> str:
        return ""

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        self.running += 1
        self.most = max(self.most, self.running)
        await anyio.lowlevel.checkpoint()
        self.running -= 1
        return ToolResult(str(self.most))


async def test_reading_calls_run_side_by_side_and_others_one_by_one(place: Workplace) -> None:
    answer = calls(
        ("meet", {"who": "a"}), ("meet", {"who": "b"}), ("count", {}), ("count", {}), ("meet", {"who": "c"})
    )
    model = ScriptedModel([answer, DONE])
    tools = (Meeting(2), Counting())
    with anyio.fail_after(120):
        await Loop(tools).work(place.assignment(model))
    results = [item for item in model.requests[-1].messages if item.role == "tool"]
    assert [item.text for item in results] == ["a of 2", "b of 2", "1", "1", "c of 3"]
    assert [item.tool_call_id for item in results] == [one.id for one in answer.tool_calls]


async def test_what_the_model_says_and_thinks_is_streamed_into_events(place: Workplace) -> None:
    worked = await work(place, Completion(text="One.\nTwo.", reasoning="Hm."))
    deltas = [(event.kind, event.text) for event in worked.of(MessageDelta)]
    assert deltas == [("reasoning", "Hm."), ("text", "One.\n"), ("text", "Two.")]
    added = [event for event in worked.of(MessageAdded) if event.message.role == "assistant"]
    assert (added[0].message.text, added[0].message.reasoning) == ("One.\nTwo.", "Hm.")


async def test_going_round_in_circles_is_noticed_said_and_ended(place: Workplace) -> None:
    model = ScriptedModel(lambda _: call("shell", {"command": "cat nothing; date +%N"}))
    worked = await work(place, model=model, limits=Limits(repeats=3, command_seconds=60))
    assert [(event.step, event.times) for event in worked.of(StuckNoticed)] == [(3, 3), (6, 3)]
    nudges = [item.text for item in model.requests[-1].messages if item.role == "user"]
    assert "round in circles" in nudges[-1]
    assert len(nudges) == 2
    assert worked.outcome.gave_up
    assert not worked.outcome.reached
    assert "repeats" in worked.outcome.summary
    assert worked.of(LimitHit)[-1].limit == "repeats"
    assert isinstance(worked.events[-2], StepEnded | LimitHit)


async def test_circles_are_noticed_across_a_restart(place: Workplace) -> None:
    looping = ScriptedModel(lambda _: call("read", {"path": "a.txt"}))
    whole = await work(place, model=looping)
    log: list[Event] = list(whole.events)
    for cut, event in enumerate(log):
        if isinstance(event, StepEnded) and event.step in (1, 2, 4, 5):
            history = finished_history(log[: cut + 1])
            again = ScriptedModel(lambda _: call("read", {"path": "a.txt"}))
            worked = await work(place, model=again, history=history)
            last = worked.of(StepEnded)[-1]
            assert last.step == 6, f"cut after step {event.step}"


async def test_trying_again_after_an_edit_is_no_circle(place: Workplace) -> None:
    answers: list[Completion] = []
    for number in range(5):
        answers.append(call("write", {"path": "a.txt", "content": f"{number}\n"}))
        answers.append(call("shell", {"command": "echo 1 failed; exit 1"}))

    worked = await work(place, model=scripted(*answers, DONE, edit_format="whole"))
    assert worked.outcome.summary == "Done."
    assert worked.of(StuckNoticed) == []


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [
        (Limits(steps=2), Limits(steps=50), "steps"),
        (Limits(tokens=200), Limits(tokens=9000), "tokens"),
        (Limits(cost_usd=0.02), Limits(cost_usd=9), "cost_usd"),
    ],
)
async def test_at_a_budget_it_waits_and_goes_on_when_it_is_raised(
    place: Workplace, low: Limits, high: Limits, name: str
) -> None:
    usage = Usage(model_calls=1, input_tokens=95, output_tokens=5, cost_usd=0.01)
    looks = [
        Completion(tool_calls=call("shell", {"command": f"echo {n}"}).tool_calls, usage=usage)
        for n in range(3)
    ]
    first = await work(place, *looks[:2], limits=low)
    assert first.outcome.reached == name
    assert [event.limit for event in first.of(LimitHit)] == [name]
    history = finished_history(first.events)
    second = await work(place, looks[2], DONE, limits=high, history=history)
    assert second.outcome.summary == "Done."
    assert not second.outcome.reached
    assert [event.step for event in second.of(StepEnded)] == [3, 4]


async def test_working_time_counts_through_restarts(place: Workplace) -> None:
    first = await work(place, call("read", {"path": "a.txt"}), DONE)
    spent = [event.seconds for event in first.of(StepEnded)]
    assert 0 < spent[0] <= spent[1]
    cut = next(n for n, event in enumerate(first.events) if isinstance(event, StepEnded)) + 1
    second = await work(
        place,
        history=finished_history(first.events[:cut]),
        limits=Limits(attempt_seconds=spent[0]),
    )
    assert second.outcome.reached == "attempt_seconds"
