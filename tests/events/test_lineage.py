"""Where an attempt may go on from: cutting a log at a step, and what was said and has no receipt."""

import pytest

from overnight.domain.conversation import Message, ToolCall
from overnight.domain.errors import NotFoundError
from overnight.domain.events import (
    AttemptEnded,
    AttemptStarted,
    CommandAccepted,
    Event,
    MessageAdded,
    StepEnded,
    StepStarted,
    TurnStarted,
    UsageUpdated,
)
from overnight.domain.task import Usage
from overnight.events.folds import finished_history
from overnight.events.lineage import base_of, checkpoint_of, cut, told_of, transcript, undelivered


def started(epoch: int = 1) -> AttemptStarted:
    return AttemptStarted(agent="loop", model="m", prompt="p", base_commit="c", epoch=epoch)


def said(step: int, text: str, command_id: str = "") -> MessageAdded:
    return MessageAdded(step=step, message=Message(role="user", text=text), command_id=command_id)


def step(number: int, *within: Event) -> list[Event]:
    return [StepStarted(step=number), *within, StepEnded(step=number, checkpoint=f"k{number}")]


def begun(conflicts: tuple[str, ...] = (), checkpoint: str | None = None) -> TurnStarted:
    return TurnStarted(
        turn=2, prompt="More.", command_id="m2", base_commit="new", conflicts=conflicts, checkpoint=checkpoint
    )


TOLD = [said(3, "More.", "m2")]
LOG: list[Event] = [
    started(),
    *step(1, said(1, "one")),
    UsageUpdated(usage=Usage(model_calls=1)),
    *step(2, said(2, "two")),
    AttemptEnded(state="succeeded"),
    started(2),
    begun(checkpoint="merged"),
    *step(3, *TOLD),
    StepStarted(step=4),
    said(4, "lost"),
]


def texts(events: list[Event]) -> list[str]:
    return [event.message.text for event in events if isinstance(event, MessageAdded)]


def test_a_cut_ends_with_its_step_and_has_no_usage() -> None:
    assert texts(cut(LOG, 1)) == ["one"]
    assert texts(cut(LOG, 2)) == ["one", "two"]
    assert texts(cut(LOG, 3)) == ["one", "two", "More."]
    for number in (1, 2, 3):
        assert cut(LOG, number)[-1] == StepEnded(step=number, checkpoint=f"k{number}")
        assert not any(isinstance(event, UsageUpdated) for event in cut(LOG, number))
    for number in (0, 4):
        with pytest.raises(NotFoundError, match=f"no finished step {number}") as caught:
            cut(LOG, number)
        assert "last one is step 3" in caught.value.hint
    with pytest.raises(NotFoundError):
        cut([], 1)


def test_files_and_base_follow_the_log() -> None:
    assert [checkpoint_of(LOG[:count]) for count in (1, 4, 8, 11, 14)] == [None, "k1", "k2", "merged", "k3"]
    assert (base_of(LOG[:8], "old"), base_of(LOG, "old")) == ("old", "new")
    assert checkpoint_of([*step(1), begun()]) == "k1", "a base that stays changes no file"


def test_what_has_no_receipt_in_a_finished_step_is_told_again() -> None:
    steer = CommandAccepted(command_id="s", kind="steer", text="Left.")
    log = [*LOG, steer, said(4, "Left.", "s")]
    (again,) = undelivered(log, finished_history(log))
    assert (again.id, again.kind, again.text) == ("s", "steer", "Left.")
    log.append(StepEnded(step=4))
    assert undelivered(log, finished_history(log)) == []
    early = [*LOG[:11]]
    assert [one.id for one in undelivered(early, finished_history(early))] == ["m2"]
    paused = CommandAccepted(command_id="p", kind="pause")
    assert undelivered([paused], []) == [], "a pause is no word for the agent"


def test_that_a_turn_began_outlives_a_lost_worker() -> None:
    log: list[Event] = [started(), begun(), StepStarted(step=1), started(2), *step(1)]
    assert [event for event in finished_history(log) if isinstance(event, TurnStarted)] == [begun()]


def test_the_first_message_of_a_turn_names_conflicts() -> None:
    assert told_of(begun()) == "More."
    text = told_of(begun(("a.py", "b.py"), "k"))
    assert "  a.py\n  b.py" in text
    assert "<<<<<<<" in text


def test_a_transcript_keeps_both_ends() -> None:
    calls = (ToolCall(id="1", name="shell", arguments="{}"),)
    events = [
        MessageAdded(step=1, message=Message(role="system", text="secret rules")),
        MessageAdded(step=1, message=Message(role="assistant", text="I look.", tool_calls=calls)),
        said(2, "x" * 100),
    ]
    assert transcript(events[:2]) == "assistant: I look.\nshell {}"
    short = transcript(events, 40)
    assert len(short) < 50
    assert short.startswith("assistant: I look.")
