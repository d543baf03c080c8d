"""The prompt's beginning stays the same, byte for byte, in what really goes over the wire."""

import itertools
import json
from pathlib import Path

import msgspec
import pytest

from overnight.agents.interface import Assignment
from overnight.agents.loop import Loop
from overnight.domain.events import StepEnded
from overnight.domain.limits import Limits
from overnight.events.folds import finished_history
from tests.agents.repair.workplace import Workplace
from tests.models.loopback import Reply, loopback
from tests.models.wires import WIRES, Wire

pytestmark = pytest.mark.anyio

STREAM = {"Content-Type": "text/event-stream"}
TURNS = ("messages", "input", "contents")
"""What the providers call the conversation."""


def split(body: bytes) -> tuple[str, list[str]]:
    """Return a request's text without its conversation, and each of its messages, as they were sent."""
    text = body.decode()
    name = next(name for name in TURNS if isinstance(json.loads(text).get(name), list))
    start = text.index(f'"{name}":') + len(name) + 3
    at = text.index("[", start) + 1
    items: list[str] = []
    while True:
        while text[at] in ", \n":
            at += 1
        if text[at] == "]":
            return text[:start] + text[at:], items
        _, end = json.JSONDecoder().raw_decode(text, at)
        items.append(text[at:end])
        at = end


def check_growing(bodies: list[bytes]) -> None:
    """Fail where a byte of an earlier request is not the same in the next, in its place."""
    for earlier, later in itertools.pairwise(bodies):
        (frame, messages), (next_frame, next_messages) = split(earlier), split(later)
        assert next_frame == frame
        assert next_messages[: len(messages)] == messages
        assert len(next_messages) > len(messages)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, {"a.txt": "a\n"})


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.spec)
async def test_no_byte_before_the_last_turn_changes(place: Workplace, wire: Wire) -> None:
    replies = [*(Reply(wire.calls, headers=STREAM) for _ in range(4)), Reply(wire.text, headers=STREAM)]
    with loopback(replies) as server:
        model = wire.open(server)
        try:
            workspace = place.workspace()
            assignment = place.assignment(model, workspace=workspace, limits=Limits(repeats=50))
            outcome = await Loop().work(assignment)
            assert not outcome.gave_up
            assert len(server.bodies) == 5
            check_growing(server.bodies)
            await _taken_up_again(place, assignment, server.bodies)
        finally:
            await model.close()


async def _taken_up_again(place: Workplace, assignment: Assignment, bodies: list[bytes]) -> None:
    """Whoever takes an attempt up asks with the same bytes as the one before."""
    ends = [number for number, event in enumerate(place.sink.events) if isinstance(event, StepEnded)]
    history = finished_history(place.sink.events[: ends[1] + 1])
    before = list(bodies)
    await Loop().work(msgspec.structs.replace(assignment, history=history))
    assert bodies[len(before)] == before[2]
