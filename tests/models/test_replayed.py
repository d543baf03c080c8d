"""A recording as a model: what counts as the same request, and how it says where it diverges."""

from typing import Any

import msgspec
import pytest

from overnight.domain.conversation import Completion, Message, Request, ToolCall, ToolSpec
from overnight.domain.errors import ContextOverflowError, ModelError, ReplayError
from overnight.domain.exchange import Exchange, Recording
from overnight.models.interface import ModelProfile
from overnight.models.replayed import ReplayedModel, steady

pytestmark = pytest.mark.anyio

TOOL = ToolSpec(name="shell", description="Runs.", parameters={"type": "object"})
OPENING = (Message(role="system", text="Be brief."), Message(role="user", text="Fix\nthe bug"))
CALL = ToolCall(id="c1", name="shell", arguments='{"command": "make"}')


def asked(*messages: Message, **settings: Any) -> Request:
    return Request(messages=(*OPENING, *messages), tools=(TOOL,), **settings)


def turn(result: str) -> tuple[Message, ...]:
    answer = Completion(tool_calls=(CALL,)).message
    return (answer, Message(role="tool", text=result, tool_call_id="c1"))


def recording(*exchanges: Exchange) -> Recording:
    profile = msgspec.to_builtins(ModelProfile(name="openai:x", context_tokens=1000, parallel=3))
    return Recording(
        attempt="a" * 32,
        agent="loop",
        model="openai:x",
        number=1,
        seed=5,
        profile=profile,
        exchanges=exchanges,
    )


def exchange(request: Request, text: str, step: int = 1) -> Exchange:
    return Exchange(step=step, request=request, completion=Completion(text=text))


async def test_the_same_requests_get_the_recorded_answers_with_the_recorded_profile() -> None:
    first = Exchange(step=1, request=asked(), completion=Completion(tool_calls=(CALL,), reasoning="Hm."))
    second = exchange(asked(*turn("Ran 2 tests in 0.013s")), "Done.", 2)
    model = ReplayedModel("replay:a", recording(first, second))
    said: list[str] = []
    thought: list[str] = []
    assert (await model.complete(asked(), said.append, None, thought.append)).tool_calls == (CALL,)
    answer = await model.complete(asked(*turn("Ran 2 tests in 9.8s"), silence_seconds=7.0), said.append)
    assert answer.text == "Done."
    assert (said, thought) == (["Done."], ["Hm."])
    assert (model.name, model.profile.context_tokens, model.profile.parallel) == ("replay:a", 1000, 3)


async def test_equal_requests_are_answered_in_the_order_of_the_recording_and_once() -> None:
    model = ReplayedModel("replay:a", recording(exchange(asked(), "one"), exchange(asked(), "two")))
    assert [(await model.complete(asked())).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(ReplayError, match="more than was recorded"):
        await model.complete(asked())


async def test_parallel_samples_are_told_apart_by_their_seeds() -> None:
    requests = [asked(seed=seed, temperature=0.8) for seed in (1, 2, 3)]
    model = ReplayedModel("replay:a", recording(*(exchange(r, str(r.seed)) for r in requests)))
    assert [(await model.complete(r)).text for r in reversed(requests)] == ["3", "2", "1"]


async def test_a_recorded_error_comes_again() -> None:
    failed = Exchange(step=1, request=asked(), error="ContextOverflowError", detail="Too long.")
    other = Exchange(step=2, request=asked(seed=1), error="SystemExit", detail="Odd.")
    model = ReplayedModel("replay:a", recording(failed, other))
    with pytest.raises(ContextOverflowError, match="Too long"):
        await model.complete(asked())
    with pytest.raises(ModelError, match="Odd"):
        await model.complete(asked(seed=1))


DIVERGENCES = [
    (asked(*turn("red\n3 failed")), "step 4, call 2: message 4 (tool), line 2: '3 failed', was '2 failed'"),
    (asked(*turn("red")), "message 4 (tool), line 2: '', was '2 failed'"),
    (asked(*turn("red\n2 failed"), Message(role="user", text="more")), "there are 5 messages, there were 4"),
    (asked(*turn("red\n2 failed"), temperature=0.5), "temperature is 0.5, was 0.0"),
    (asked(*turn("red\n2 failed"), seed=3), "seed is 3, was None"),
    (
        Request(messages=asked(*turn("red\n2 failed")).messages),
        "the tools are ; they were shell",
    ),
    (
        asked(Message(role="user", text="other")),
        "message 3 is of user, was of assistant",
    ),
]


@pytest.mark.parametrize(("request_", "words"), DIVERGENCES)
async def test_a_divergence_names_step_and_first_difference(request_: Request, words: str) -> None:
    model = ReplayedModel(
        "replay:a", recording(exchange(asked(), "go"), exchange(asked(*turn("red\n2 failed")), "on", 4))
    )
    await model.complete(asked())
    with pytest.raises(ReplayError) as caught:
        await model.complete(request_)
    assert words in caught.value.message
    assert "aaaaaaaaaaaa" in caught.value.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OK in 0.013s", "OK in 1.2e-3 s"),
        ("2026-11-28T21:00:01Z start", "2027-01-02 03:04:05.123 start"),
        ("at 21:04:33", "at 09:00:00"),
        ("<Thing at 0x7f00aa10>", "<Thing at 0x55d0beef>"),
        ("wrote /tmp/tmpab12/x", "wrote /tmp/tmpzz99/x"),
        ("pid 123 ended", "pid 9 ended"),
    ],
)
def test_what_differs_by_itself_is_no_difference(one: str, other: str) -> None:
    assert steady(one) == steady(other)


@pytest.mark.parametrize(
    ("one", "other"), [("3 failed", "2 failed"), ("line 12", "line 13"), ("0x1f", "0x2f"), ("a/tmp", "b/tmp")]
)
def test_what_means_something_is_a_difference(one: str, other: str) -> None:
    assert steady(one) != steady(other)
