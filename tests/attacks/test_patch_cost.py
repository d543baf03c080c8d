"""Files and patches that would keep the host busy while it looks for the place of a change."""

import time

import pytest

from overnight.agents.tools.patch_apply import update_text
from overnight.agents.tools.patch_format import Chunk, Line
from overnight.domain.errors import PatchError

SECONDS = 20.0
"""Far above what is needed (below one), far below what was (minutes to hours)."""
LINES = 60_000


def test_a_chunk_that_fits_nowhere_is_given_up_soon() -> None:
    text = "".join(f"value_{number} = compute({number})\n" for number in range(LINES))
    lines = removed(*(f"value_{number} = other({number})" for number in range(400)))
    chunk = Chunk(contexts=(), lines=lines)
    began = time.process_time()
    with pytest.raises(PatchError, match="not found") as failed:
        update_text("long.py", text, [chunk])
    assert time.process_time() - began < SECONDS
    assert "1: value_0 = compute(0)" in failed.value.hint


def test_the_place_is_still_found_in_a_long_file() -> None:
    text = "".join(f"value_{number} = compute({number})\n" for number in range(LINES))
    chunk = Chunk(contexts=(), lines=removed("value_50000 = compute(50000)", "value_50001 = compute(5001)"))
    with pytest.raises(PatchError) as failed:
        update_text("long.py", text, [chunk])
    assert "50001: value_50000" in failed.value.hint


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(PatchError, match="lines"):
        update_text("empty.txt", "\n" * 300_000, [Chunk(contexts=(), lines=removed(*[""] * 500, "x"))])


def test_changing_a_long_file_is_quick() -> None:
    text = "".join(f"{number}\n" for number in range(LINES))
    lines = (*removed("0"), Line("+", "changed"), Line(" ", "1"))
    began = time.process_time()
    changed = update_text("long.txt", text, [Chunk(contexts=(), lines=lines)])
    assert time.process_time() - began < SECONDS
    assert changed.startswith("changed\n1\n")


def removed(*lines: str) -> tuple[Line, ...]:
    return tuple(Line("-", line) for line in lines)
