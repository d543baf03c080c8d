"""From results to a table: solved shares with bootstrap intervals over tasks, wall time, tokens."""

import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

RESAMPLES = 2000


@dataclass(frozen=True)
class Result:
    """One repetition of one arm on one task. `solved` is after the first attempt, `solved_all` after all."""

    task: str
    sealed: bool
    arm: str
    repetition: int
    solved: bool
    solved_all: bool
    seconds: float
    tokens: int

    def as_dict(self) -> dict[str, object]:
        """Return plain values for a line of JSON."""
        return asdict(self)


def interval(by_task: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean over tasks."""
    if not by_task:
        return 0.0, 0.0
    draw = random.Random(7)
    means = sorted(statistics.fmean(draw.choices(by_task, k=len(by_task))) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1]


def row(label: str, results: Sequence[Result], solved: Callable[[Result], bool]) -> str:
    """Return one line of the table."""
    shares: dict[str, list[float]] = defaultdict(list)
    for result in results:
        shares[result.task].append(float(solved(result)))
    by_task = [statistics.fmean(found) for found in shares.values()]
    low, high = interval(by_task)
    mean = statistics.fmean(by_task) if by_task else 0.0
    count = sum(solved(result) for result in results)
    return (
        f"| {label} | {count} of {len(results)} | {mean:.0%} | {low:.0%}–{high:.0%} "
        f"| {statistics.median(result.seconds for result in results):.0f} "
        f"| {statistics.median(result.tokens for result in results):.0f} |"
    )


def table(results: Sequence[Result]) -> str:
    """Return the table for one set of tasks."""
    lines = [
        "| arm | solved | share | 95 % interval | median s | median tokens |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    arms = {
        arm: [result for result in results if result.arm == arm] for arm in ("file", "function", "repair")
    }
    if arms["file"]:
        lines.append(row("asked once, whole file", arms["file"], lambda result: result.solved))
    if arms["function"]:
        lines.append(row("asked once, the one function", arms["function"], lambda result: result.solved))
    if arms["repair"]:
        lines.append(row("`repair`, attempt 1 of 4", arms["repair"], lambda result: result.solved))
        lines.append(row("`repair`, 4 attempts", arms["repair"], lambda result: result.solved_all))
    return "\n".join(lines)
