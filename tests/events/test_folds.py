"""Folds: how an attempt stands, where to go on."""

from overnight.domain.conversation import Message
from overnight.domain.events import (
    AttemptEnded,
    AttemptStarted,
    CheckCompleted,
    CommandEnded,
    CommandStarted,
    Event,
    FileChanged,
    Heartbeat,
    MessageAdded,
    MessageDelta,
    ModelWaiting,
    PhaseChanged,
    ProposalChecked,
    ProposalMade,
    PullRequestOpened,
    Recorded,
    StepEnded,
    StepStarted,
    UsageUpdated,
)
from overnight.domain.task import Usage
from overnight.events.folds import ChangedFile, finished_history, status


def started(epoch: int) -> AttemptStarted:
    return AttemptStarted(agent="loop", model="m", prompt="p", base_commit="c", epoch=epoch)


def said(step: int, text: str) -> MessageAdded:
    return MessageAdded(step=step, message=Message(role="assistant", text=text))


def recorded(*events: Event) -> list[Recorded]:
    return [Recorded(seq=number, at=100.0 + number, event=one) for number, one in enumerate(events, start=1)]


STORY = recorded(
    started(1),
    PhaseChanged(phase="preparing", detail="reusing snapshot"),
    PhaseChanged(phase="working"),
    StepStarted(step=1, title="look"),
    ModelWaiting(reason="loading"),
    MessageDelta(step=1, text="I"),
    CommandStarted(command_id="1", command="pytest -q"),
    CommandEnded(command_id="1", exit_code=1, seconds=0.5),
    ProposalMade(step=1, path="a.py", target="f", view="function", temperature=0.0, rejected="no code"),
    ProposalMade(step=1, path="a.py", target="f", view="function", temperature=0.2),
    ProposalChecked(step=1, path="a.py", target="f", passed=9, failed=1, kept=True),
    FileChanged(path="b.py", change="modified", added=2, removed=1),
    FileChanged(path="a.py", change="added", added=5),
    FileChanged(path="b.py", change="modified", added=1),
    UsageUpdated(usage=Usage(model_calls=3, output_tokens=40)),
    StepEnded(step=1),
)


def test_status_tells_how_it_stands() -> None:
    now = status(STORY)
    assert (now.phase, now.detail, now.step, now.title) == ("working", "", 1, "look")
    assert (now.command, now.command_running, now.exit_code) == ("pytest -q", False, 1)
    assert now.files == (
        ChangedFile(path="a.py", change="added", added=5),
        ChangedFile(path="b.py", change="modified", added=3, removed=1),
    )
    assert now.usage.output_tokens == 40
    assert (now.proposals.made, now.proposals.rejected, now.proposals.kept) == (2, 1, 1)
    assert (now.proposals.passed, now.proposals.failed) == (9, 1)
    assert (now.last_seq, now.last_at, now.waiting_for, now.state) == (16, 116.0, "", None)


def test_status_goes_on_from_where_it_was() -> None:
    for cut in range(len(STORY) + 1):
        assert status(STORY[cut:], status(STORY[:cut])) == status(STORY)


def test_waiting_ends_with_the_next_sign_of_life() -> None:
    assert status(recorded(ModelWaiting(reason="loading"))).waiting_for == "loading"
    assert status(recorded(ModelWaiting(reason="loading"), Heartbeat())).waiting_for == "loading"
    assert status(recorded(Heartbeat(waiting_for="model"), MessageDelta(step=1, text="x"))).waiting_for == ""
    assert status(recorded(Heartbeat(waiting_for="model"), said(1, "x"))).waiting_for == ""


def test_verification_and_end() -> None:
    check = CheckCompleted(command="pytest", side="candidate", run=1, passed=True, exit_code=0, seconds=1.0)
    opened = PullRequestOpened(number=7, forge="local", branch="b", title="t")
    now = status(recorded(check, opened, AttemptEnded(state="succeeded")))
    assert (now.checks, now.pull_request, now.state) == ((check,), 7, "succeeded")
    assert status(recorded(AttemptEnded(state="failed"), started(2))).state is None


def test_history_leaves_out_what_a_lost_worker_did_not_finish() -> None:
    events: list[Event] = [
        started(1),
        said(0, "task"),
        said(1, "one"),
        StepEnded(step=1, checkpoint="x"),
        said(2, "lost"),
        started(2),
        said(2, "two"),
        StepEnded(step=2, checkpoint="y"),
        said(3, "not finished"),
    ]
    assert finished_history(events) == [*events[:4], *events[5:8]]


def test_nothing_finished_is_no_history() -> None:
    assert finished_history([started(1), said(1, "one")]) == []
    assert finished_history([]) == []
