"""`python -m bench.workspace [--runs N] [--files N …] [--real PATH] [--only ROW …] [--publish]`.

Medians of N rounds on repositories of 1,000, 10,000 and 100,000 files and one real tree.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from bench.rounds import Goal, machine, publish
from bench.workspace.repositories import real, synthetic
from bench.workspace.rounds import (
    ADVANCE,
    BARE,
    CHECKPOINT,
    COLD,
    DISK,
    FORK,
    OURS,
    PATCH,
    PLAIN,
    READY,
    STATUS,
    THEIRS,
    Rounds,
)  # fmt: skip
from overnight.environments.volumes import enter_own_mounts
from overnight.sandbox.choose import choose
from overnight.sandbox.interface import SandboxBackend

SIZES = (1_000, 10_000, 100_000)
GOALS = {READY: 3.0, COLD: 25.0, BARE: 10.0, CHECKPOINT: 20.0, FORK: 20.0, PATCH: 40.0}
"""Milliseconds, at every size."""
DISK_GOAL, FLAT_GOAL, STATUS_GOAL = 200.0, 1.3, 1 / 3
SLOW_ROUNDS = 5
"""Rounds of what takes seconds, on repositories of more than `SLOW_FILES` files."""
SLOW_FILES = 5_000

Table = dict[str, dict[str, float]]
"""Medians by repository and row."""


def main() -> None:
    """Measure, print the table and, if asked, write it into bench/README.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.workspace", description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--files", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--real", type=Path, help="a large tree; the installed packages when left out")
    parser.add_argument("--no-real", action="store_true", help="leave the real tree out")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose names hold one of these words")
    parser.add_argument("--publish", action="store_true", help="write the table into bench/README.md")
    options = parser.parse_args()
    enter_own_mounts()
    folder = Path(tempfile.mkdtemp(prefix="overnight-bench-workspace-"))
    folder.chmod(0o711)
    try:
        table, name = asyncio.run(measure(folder, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n".join(
        [
            f"{machine()}; sandbox `{name}`. Medians of {options.runs} rounds ({SLOW_ROUNDS} where git or cp "
            f"writes more than {SLOW_FILES:,} files), milliseconds:",
            "",
            *draw(table),
            "",
            *judge(table),
        ]
    )
    print(text)
    if options.publish:
        publish("workspace", text)


async def measure(folder: Path, options: argparse.Namespace) -> tuple[Table, str]:
    """Return the medians, and the sandbox that was used."""
    backend = await choose("auto", state=folder / "state", search=os.environ["PATH"], home=Path.home())
    table: Table = {}
    for files in options.files:
        table[f"{files:,} files"] = await rounds_of(
            folder / str(files), synthetic(folder, files), backend, options, files
        )
    if not options.no_real:
        repository = real(folder, options.real)
        table["real tree"] = await rounds_of(folder / "of-real", repository, backend, options, SLOW_FILES + 1)
    return table, backend.name


async def rounds_of(
    folder: Path, repository: Path, backend: SandboxBackend, options: argparse.Namespace, files: int
) -> dict[str, float]:
    """Return the medians of one repository."""
    folder.mkdir(mode=0o711)
    rounds = Rounds(folder, repository, backend, tuple(options.only))
    await rounds.prepare()
    try:
        for number in range(options.runs):
            await rounds.round(theirs=files <= SLOW_FILES or number < SLOW_ROUNDS)
            print(f"{folder.name}: round {number + 1} of {options.runs}", file=sys.stderr)
    finally:
        rounds.close()
    shutil.rmtree(folder, ignore_errors=True)
    medians = {name: statistics.median(found) for name, found in rounds.times.items()}
    if rounds.disk:
        medians[DISK] = rounds.disk / 1024
    return medians


def draw(table: Table) -> list[str]:
    """Return the lines of a Markdown table, rows of ours first."""
    lines = [f"| | {' | '.join(table)} |", "|---|" + "---:|" * len(table)]
    for row in (*OURS, *THEIRS, DISK):
        if any(row in medians for medians in table.values()):
            cells = [f"{medians[row]:,.1f}" if row in medians else "–" for medians in table.values()]
            lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def judge(table: Table) -> list[str]:
    """Return a line for each goal: met or missed, and by how much."""
    lines: list[str] = []

    def say(what: str, value: float, goal: float, unit: str) -> None:
        lines.append(Goal(what, value, goal, unit).line())

    for row, goal in GOALS.items():
        found = [medians[row] for medians in table.values() if row in medians]
        if found:
            say(f"{row}, at the worst size", max(found), goal, "ms")
    disks = [medians[DISK] for medians in table.values() if DISK in medians]
    if disks:
        say("disk of an idle workspace", max(disks), DISK_GOAL, "KB")
    small, large = table.get(f"{SIZES[0]:,} files", {}), table.get(f"{SIZES[-1]:,} files", {})
    for row in (READY, COLD, BARE, CHECKPOINT, FORK, PATCH):
        if row in small and row in large:
            say(f"{row}: 100,000 files against 1,000", large[row] / small[row], FLAT_GOAL, "times")
    if STATUS in large and PLAIN in large:
        say(
            f"{STATUS} against a plain overlay, 100,000 files",
            large[STATUS] / large[PLAIN],
            STATUS_GOAL,
            "times",
        )
    if ADVANCE in large:
        lines.append(f"- {ADVANCE}: {large[ADVANCE]:,.0f} ms at 100,000 files (no goal)")
    return lines


if __name__ == "__main__":
    main()
