"""Interleaved measurements, and the tables that are written into a README."""

from pathlib import Path

import pytest
from bench.rounds import Goal, Variant, interleave, publish, table

pytestmark = pytest.mark.anyio


async def test_variants_take_turns() -> None:
    order: list[str] = []

    def variant(name: str, seconds: float, every: int = 1) -> Variant:
        async def measure() -> float:
            order.append(name)
            return seconds

        return Variant(name, measure, every)

    quick, slow = variant("quick", 0.002), variant("slow", 0.008, every=3)
    await interleave([quick, slow], rounds=4, warm=1)
    assert order == ["quick", "slow", "quick", "slow", "quick", "quick", "quick", "slow"]
    assert table([quick, slow], quick).splitlines()[2:] == [
        "| quick | 2.00 | 2.00–2.00 | 1.0 | 4 |",
        "| slow | 8.00 | 8.00–8.00 | 4.0 | 2 |",
    ]


def test_goals_say_whether_they_are_met() -> None:
    assert Goal("cold", 1.1, 1.2).line() == "- cold: 1.10 times, goal at most 1.2: met"
    assert "**missed**" in Goal("gone", 2.5, 2.0, "s").line()


def test_a_table_replaces_the_one_before(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Bench\n\n<!-- other:begin -->\nkept\n<!-- other:end -->\n")
    publish("sandbox", "first \\1 table\n", readme)
    publish("sandbox", "second table", readme)
    assert readme.read_text() == (
        "# Bench\n\n<!-- other:begin -->\nkept\n<!-- other:end -->\n\n"
        "<!-- sandbox:begin -->\nsecond table\n<!-- sandbox:end -->\n"
    )
