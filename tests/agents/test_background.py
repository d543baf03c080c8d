"""Commands that go on: handed over, polled, written to, stopped, bounded; and output that is kept whole."""

import asyncio
from pathlib import Path

import pytest

from overnight.agents.tools.background import Background
from overnight.domain.events import (
    ArtifactKept,
    CommandEnded,
    CommandStarted,
    Event,
    LimitHit,
    StepEnded,
    WentToBackground,
)
from overnight.domain.limits import Limits
from overnight.events.folds import finished_history
from overnight.models.scripted import ScriptedModel
from overnight.sandbox.interface import Command
from tests.agents.repair.workplace import Workplace
from tests.agents.working import DONE, Worked, call, calls, work

pytestmark = pytest.mark.anyio


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, {"a.txt": "a\n"})


def ended(worked: Worked) -> list[str]:
    """Return the commands whose end was recorded."""
    texts = {event.command_id: event.command for event in worked.of(CommandStarted)}
    return [texts[event.command_id] for event in worked.of(CommandEnded)]


async def test_a_command_is_handed_over_polled_written_to_and_stopped(place: Workplace) -> None:
    script = "echo ready; while read line; do echo got $line; done; echo over"
    worked = await work(
        place,
        call("shell", {"command": script, "yield_seconds": 0}),
        call("process", {"action": "write", "name": "b1", "input": "one\n", "wait_seconds": 2}),
        call("process", {"action": "list"}),
        call("process", {"action": "stop", "name": "b1"}),
        call("process", {"action": "poll", "name": "b1"}),
        DONE,
    )
    first, second, listed, stopped, gone = worked.results
    assert "[goes on in the background as b1]" in first
    assert "got one" in second
    assert "[b1 is running]" in second
    assert listed.startswith("b1 (running): echo ready")
    assert "[exit code -" in stopped
    assert "no command 'b1'" in gone
    assert worked.of(WentToBackground)[0].name == "b1"
    assert ended(worked) == [script]


async def test_a_command_that_ends_in_time_never_was_in_the_background(place: Workplace) -> None:
    worked = await work(place, call("shell", {"command": "echo quick", "yield_seconds": 60}), DONE)
    assert worked.told == "quick\n[exit code 0]"
    assert worked.of(WentToBackground) == []


async def test_input_that_nobody_reads_holds_nothing_up(place: Workplace) -> None:
    async with asyncio.timeout(180):
        worked = await work(
            place,
            call("shell", {"command": "sleep 600", "yield_seconds": 0}),
            call("process", {"action": "write", "name": "b1", "input": "x" * 300_000}),
            call("process", {"action": "stop", "name": "b1"}),
            DONE,
        )
    assert "[b1 is running]" in worked.results[1]
    assert "[exit code -" in worked.told


async def test_waiting_for_a_background_command_brings_its_end(place: Workplace) -> None:
    worked = await work(
        place,
        call("shell", {"command": "read line; echo heard $line; exit 3", "yield_seconds": 0}),
        call("process", {"action": "write", "name": "b1", "input": "yes\n", "wait_seconds": 120}),
        DONE,
    )
    assert worked.told == "heard yes\n[exit code 3]"


async def test_what_still_runs_ends_with_the_work(place: Workplace) -> None:
    worked = await work(place, call("shell", {"command": "sleep 600", "yield_seconds": 0}), DONE)
    assert ended(worked) == ["sleep 600"]


async def test_only_so_many_run_at_the_same_time(place: Workplace) -> None:
    sleeping = call("shell", {"command": "sleep 600", "yield_seconds": 0})
    worked = await work(
        place, sleeping, sleeping, sleeping, DONE, limits=Limits(background_commands=2, repeats=9)
    )
    assert "2 commands are running already" in worked.told
    assert [event.limit for event in worked.of(LimitHit)] == ["background_commands"]


async def test_of_those_that_ended_only_so_many_keep_their_output(place: Workplace) -> None:
    assignment = place.assignment(ScriptedModel([DONE]))
    background = Background(assignment.sandbox, place.sink, Limits(background_commands=2))
    for _ in range(4):
        one = await background.start(Command(script="echo over"))
        assert one.ended is not None
        await one.ended
        background.name(one)
    assert [one.name for one in background.all()] == ["b3", "b4"]
    hits = [event.detail for event in place.sink.events if isinstance(event, LimitHit)]
    assert [detail.split()[0] for detail in hits] == ["b1", "b2"]
    await background.close()


async def test_a_command_with_a_time_limit_ends_in_the_background_too(place: Workplace) -> None:
    sleeping = {"command": "sleep 600", "yield_seconds": 0, "timeout_seconds": 0.3}
    worked = await work(
        place,
        call("shell", sleeping),
        call("process", {"action": "poll", "name": "b1", "wait_seconds": 120}),
        DONE,
    )
    assert "stopped: command_seconds" in worked.told
    assert [event.limit for event in worked.of(LimitHit)] == ["command_seconds"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"action": "poll"}, "no command None"),
        ({"action": "poll", "name": "b7"}, "no command 'b7'"),
        ({"action": "dance", "name": "b1"}, "`action` must be one of"),
        ({}, "`action` must be one of"),
        ({"action": "list"}, "Nothing is in the background."),
    ],
)
async def test_what_is_wrong_with_a_call_is_told(
    place: Workplace, arguments: dict[str, str], says: str
) -> None:
    assert says in (await work(place, call("process", arguments), DONE)).told


async def test_an_attempt_taken_up_again_is_told_what_it_lost(place: Workplace) -> None:
    whole = await work(
        place,
        call("shell", {"command": "sleep 600", "yield_seconds": 0}),
        call("read", {"path": "a.txt"}),
        DONE,
    )
    log: list[Event] = list(whole.events)
    cut = next(n for n, event in enumerate(log) if isinstance(event, StepEnded)) + 1
    history = finished_history(log[:cut])
    worked = await work(place, call("read", {"path": "a.txt"}), DONE, history=history)
    said = [item.text for item in worked.model.requests[0].messages if item.role == "user"]
    assert "b1 in the background ended" in said[-1]
    assert len(worked.of(CommandEnded)) == 1
    # It is said once: whoever takes it up after that knows already.
    later = finished_history([*log[:cut], *worked.events])
    third = await work(place, DONE, history=later[: _first_end(later, cut)])
    assert sum("in the background ended" in item.text for item in third.model.requests[0].messages) == 1


def _first_end(history: list[Event], begin: int) -> int:
    return next(n for n, event in enumerate(history) if n >= begin and isinstance(event, StepEnded)) + 1


async def test_long_output_is_kept_whole_and_can_be_paged_through(place: Workplace) -> None:
    first = await work(place, call("shell", {"command": "seq 1 20000"}), DONE)
    (kept,) = first.of(ArtifactKept)
    name = f"artifact:{kept.digest[:12]}"
    assert f"characters left out; read {name} has all" in first.told
    assert len(first.told) < 11_000
    assert kept.size == len("\n".join(map(str, range(1, 20001)))) + 1
    assert [event.limit for event in first.of(LimitHit)] == ["result_characters"]
    page = call("read", {"path": name, "start": 12345, "lines": 1})
    history = finished_history(first.events[: _first_end(first.events, 0)])
    again = await work(place, page, DONE, history=history)
    assert again.told == "12345\t12345\n[lines 12345-12345 of 20000]"


async def test_artifacts_of_others_are_not_to_be_had(place: Workplace) -> None:
    digest = place.blobs.put(b"another attempt's")
    worked = await work(
        place,
        calls(("read", {"path": f"artifact:{digest[:12]}"}), ("read", {"path": f"artifact:{digest}"})),
        DONE,
    )
    assert all("no such artifact" in text for text in worked.results)


async def test_a_patch_among_other_commands_is_refused_before_anything_runs(place: Workplace) -> None:
    script = "touch ran\napply_patch <<'EOF'\n*** Begin Patch\n*** Delete File: a.txt\n*** End Patch\nEOF\n"
    worked = await work(place, call("shell", {"command": script}), DONE)
    assert "nothing was run" in worked.told
    assert worked.workspace.changes() == []
