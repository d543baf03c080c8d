"""Files and patches that would keep the host busy while it looks for the place of a change."""

import time

import pytest

from overnight.agents.tools.apply_patch import apply_patch
from overnight.agents.tools.interface import Toolbox
from overnight.agents.tools.patch_apply import update_text
from overnight.agents.tools.patch_format import Chunk, Line
from overnight.domain.errors import PatchError
from overnight.environments.interface import Workspace
from tests.attacks.hostile import Place
from tests.sink import Sink

SECONDS = 20.0
"""Far above what is needed (below one), far below what was (minutes to hours)."""
LINES = 60_000


def _removing(*lines: str) -> Chunk:
    return Chunk(contexts=(), lines=tuple(Line("-", line) for line in lines))


def test_a_chunk_that_fits_nowhere_is_given_up_soon() -> None:
    text = "".join(f"value_{number} = compute({number})\n" for number in range(LINES))
    chunk = _removing(*(f"value_{number} = other({number})" for number in range(400)))
    began = time.process_time()
    with pytest.raises(PatchError, match="not found") as failed:
        update_text("long.py", text, [chunk])
    assert time.process_time() - began < SECONDS
    assert "1: value_0 = compute(0)" in failed.value.hint


def test_the_place_is_still_found_in_a_long_file() -> None:
    text = "".join(f"value_{number} = compute({number})\n" for number in range(LINES))
    chunk = _removing("value_50000 = compute(50000)", "value_50001 = compute(5001)")
    with pytest.raises(PatchError) as failed:
        update_text("long.py", text, [chunk])
    assert "50001: value_50000" in failed.value.hint


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(PatchError, match="lines"):
        update_text("empty.txt", "\n" * 300_000, [_removing(*[""] * 500, "x")])


def test_changing_a_long_file_is_quick(place: Place) -> None:
    with place.workspace() as workspace:
        assert _patched(workspace) < SECONDS
        assert (workspace.read("long.txt") or b"").startswith(b"changed\n1\n")


def _patched(workspace: Workspace) -> float:
    workspace.write("long.txt", "".join(f"{number}\n" for number in range(LINES)).encode())
    toolbox = Toolbox(workspace=workspace, sandbox=None, events=Sink(), artifacts=None)  # type: ignore[arg-type]
    patch = "*** Begin Patch\n*** Update File: long.txt\n@@\n-0\n+changed\n 1\n*** End Patch"
    began = time.process_time()
    assert apply_patch(patch, toolbox).ok
    return time.process_time() - began
