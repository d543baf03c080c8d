"""A window that fills up: older results are cut, then summed up; the task, the plan and the files stay."""

from pathlib import Path

import pytest

from overnight.agents.context import OPENING, Context, aged, compacted
from overnight.domain.conversation import Completion, Message, Request, ToolCall
from overnight.domain.errors import ContextOverflowError
from overnight.domain.events import ContextCompacted, Event, StepEnded
from overnight.domain.limits import Limits
from overnight.domain.task import Usage
from overnight.events.folds import finished_history
from overnight.models.interface import OnDelta, OnLimit, OnWaiting
from overnight.models.scripted import ScriptedModel
from tests.agents.repair.workplace import Workplace
from tests.agents.working import call, calls, scripted, work

pytestmark = pytest.mark.anyio
PLAN = {"steps": [{"text": "find the fault", "state": "done"}, {"text": "mend it", "state": "doing"}]}
BEGIN = calls(
    ("plan", PLAN),
    ("apply_patch", {"patch": "*** Begin Patch\n*** Add File: touched.py\n+x = 1\n*** End Patch"}),
)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, {"long.txt": "".join(f"line {n} of a long file\n" for n in range(400))})


def valid(request: Request) -> None:
    """Fail where a call has no result or a result no call, as every provider would refuse it."""
    waiting: set[str] = set()
    for message in request.messages:
        if message.role == "tool":
            assert message.tool_call_id in waiting
            waiting.discard(message.tool_call_id)
        else:
            assert not waiting, waiting
        waiting |= {one.id for one in message.tool_calls}
    assert not waiting


class Counting:
    """Reads on and on; counts tokens as a provider would, and refuses what does not fit."""

    def __init__(self, window: int, steps: int) -> None:
        self.largest = 0
        self.window = window
        self.sums = 0
        self.steps = steps

    def answer(self, request: Request) -> Completion:
        valid(request)
        size = sum(len(m.text) + sum(len(c.arguments) for c in m.tool_calls) for m in request.messages) // 4
        self.largest = max(self.largest, size)
        if size > self.window:
            raise ContextOverflowError(f"{size} tokens are more than {self.window}")
        usage = Usage(model_calls=1, input_tokens=size, output_tokens=10)
        if "about to be shortened" in request.messages[-1].text:
            self.sums += 1
            return Completion(text=f"Notes {self.sums}: the fault is in touched.py.", usage=usage)
        self.steps -= 1
        if self.steps <= 0:
            return Completion(text="Done.", usage=usage)
        if len(request.messages) == OPENING:
            return Completion(tool_calls=BEGIN.tool_calls, usage=usage)
        start = 1 + self.steps
        one = ToolCall(
            id=f"r{start}", name="read", arguments=f'{{"path": "long.txt", "start": {start}, "lines": 60}}'
        )
        return Completion(tool_calls=(one,), usage=usage)


async def test_the_window_never_overflows_and_what_matters_stays(place: Workplace) -> None:
    counting = Counting(window=8_000, steps=90)
    model = ScriptedModel(
        counting.answer, profile=scripted(context_tokens=9_000, max_output_tokens=1_000).profile
    )
    worked = await work(place, model=model, limits=Limits(steps=500, tokens=10**9))
    assert worked.outcome.summary == "Done."
    assert counting.largest <= 8_000
    steps: list[ContextCompacted] = worked.of(ContextCompacted)
    assert {event.kind for event in steps} == {"aged", "summed_up"}
    assert counting.sums == sum(event.kind == "summed_up" for event in steps)
    assert len(steps) < 40, "rare steps, each of them big"
    assert all(event.tokens_after < event.tokens_before * 0.95 for event in steps)
    last = model.requests[-1].messages
    assert "Make the failing test pass." in last[1].text
    assert last[:OPENING] == model.requests[0].messages[:OPENING]
    summary = next(message.text for message in last if "taken out" in message.text)
    assert "[x] find the fault" in summary
    assert "[>] mend it" in summary
    assert "A touched.py" in summary
    assert "the fault is in touched.py" in summary


async def test_between_two_such_steps_the_prompt_only_grows(place: Workplace) -> None:
    counting = Counting(window=8_000, steps=60)
    model = ScriptedModel(
        counting.answer, profile=scripted(context_tokens=9_000, max_output_tokens=1_000).profile
    )
    worked = await work(place, model=model, limits=Limits(steps=500, tokens=10**9))
    changed = 0
    for earlier, later in zip(model.requests, model.requests[1:], strict=False):
        if "about to be shortened" in later.messages[-1].text:
            assert later.messages[:-1][: len(earlier.messages)] == earlier.messages
        elif later.messages[: len(earlier.messages)] != earlier.messages:
            changed += 1
    # A request for notes and the step after it are one change each.
    assert 0 < changed <= len(worked.of(ContextCompacted)) + counting.sums


async def test_a_shortened_conversation_is_rebuilt_the_same(place: Workplace) -> None:
    counting = Counting(window=8_000, steps=60)
    profile = scripted(context_tokens=9_000, max_output_tokens=1_000).profile
    model = ScriptedModel(counting.answer, profile=profile)
    whole = await work(place, model=model, limits=Limits(steps=500, tokens=10**9))
    log: list[Event] = list(whole.events)
    requests = [r for r in model.requests if "about to be shortened" not in r.messages[-1].text]
    ends = [number for number, event in enumerate(log) if isinstance(event, StepEnded)]
    for step in (5, 20, 35, 50):
        again = ScriptedModel(lambda request: (valid(request), Completion(text="Done."))[1], profile=profile)
        await work(place, model=again, history=finished_history(log[: ends[step - 1] + 1]))
        asked = again.requests[-1].messages
        expected = requests[step].messages
        if asked != expected:  # It may shorten a step earlier or later: it estimates anew.
            assert asked[:OPENING] == expected[:OPENING]
            assert any(message.text for message in asked[OPENING:])


class Strict(ScriptedModel):
    """Takes only short prompts, whatever its profile says."""

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        if sum(len(message.text) for message in request.messages) > 12_000:
            self.requests.append(request)
            raise ContextOverflowError("too long")
        return await super().complete(request, on_delta, on_waiting, on_reasoning, on_limit)


async def test_a_model_with_a_smaller_window_than_it_says_is_asked_again(place: Workplace) -> None:
    reading = [call("read", {"path": "long.txt", "start": n, "lines": 120}, f"r{n}") for n in range(1, 7)]
    model = Strict([*reading, Completion(text="Done.")])
    worked = await work(place, model=model)
    assert worked.outcome.summary == "Done."
    assert next(event.kind for event in worked.of(ContextCompacted)) == "summed_up"


async def test_a_task_that_fits_no_window_is_an_error(place: Workplace) -> None:
    class Never(ScriptedModel):
        async def complete(self, *_: object, **__: object) -> Completion:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise ContextOverflowError("too long")

    with pytest.raises(ContextOverflowError):
        await work(place, model=Never([]))


def test_aging_leaves_short_results_and_what_was_said() -> None:
    long = Message(role="tool", text="x" * 1000, tool_call_id="c")
    assert aged(Message(role="tool", text="short", tool_call_id="c")).text == "short"
    assert aged(Message(role="user", text="x" * 1000)).text == "x" * 1000
    assert aged(long).text.startswith("x" * 200)
    assert "800 characters" in aged(long).text
    assert aged(aged(long)) == aged(long)


def test_shortening_again_gives_the_same() -> None:
    messages = [Message(role="system"), Message(role="user", text="t")]
    for number in range(4):
        messages.append(
            Message(role="assistant", tool_calls=(ToolCall(id=str(number), name="n", arguments=""),))
        )
        messages.append(Message(role="tool", text="y" * 900, tool_call_id=str(number)))
    event = ContextCompacted(step=1, kind="summed_up", until=6, summary="s")
    once = compacted(messages, event)
    assert [message.text for message in once[:3]] == ["", "t", "s"]
    assert once[3:] == messages[6:]
    assert compacted(messages, event) == once


def test_the_models_own_count_is_believed() -> None:
    context = Context(1000, (), [Message(role="user", text="x" * 700)])
    guess = context.tokens()
    context.counted(Usage(input_tokens=690, output_tokens=10))
    assert context.tokens() == 700 > guess
    context.messages.append(Message(role="tool", text="y" * 100))
    assert 790 < context.tokens() < 830
