"""Variants measured side by side: in interleaved rounds, as medians and ratios, with goals met or missed."""

import os
import platform
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

README = Path(__file__).with_name("README.md")


@dataclass
class Variant:
    """One way of doing the same thing. `measure` returns seconds, of whatever part counts."""

    name: str
    measure: Callable[[], Awaitable[float]]
    every: int = 1
    """It takes part in each of so many rounds: the slow ones would else take all the time."""
    seconds: list[float] = field(default_factory=list[float])

    @property
    def median(self) -> float:
        """The median in milliseconds."""
        return statistics.median(self.seconds) * 1000


@dataclass(frozen=True)
class Goal:
    """What was aimed at: `measured` must be at most `bound`."""

    name: str
    measured: float
    bound: float
    unit: str = "times"

    def line(self) -> str:
        """Say whether it is met."""
        met = "met" if self.measured <= self.bound else "**missed**"
        return f"- {self.name}: {self.measured:.2f} {self.unit}, goal at most {self.bound:g}: {met}"


async def interleave(variants: Sequence[Variant], rounds: int, warm: int = 2) -> None:
    """Measure every variant in each of `rounds`, one after the other; `warm` runs before do not count."""
    for variant in variants:
        for _ in range(warm):
            await variant.measure()
    for number in range(rounds):
        for variant in variants:
            if number % variant.every == 0:
                variant.seconds.append(await variant.measure())


def table(variants: Sequence[Variant], base: Variant) -> str:
    """Return medians, spreads and ratios to `base` as a Markdown table."""
    lines = ["| variant | median ms | p10–p90 | ratio | runs |", "|---|---:|---|---:|---:|"]
    for variant in variants:
        low, high = _spread(variant.seconds)
        lines.append(
            f"| {variant.name} | {variant.median:.2f} | {low:.2f}–{high:.2f} "
            f"| {variant.median / base.median:.1f} | {len(variant.seconds)} |"
        )
    return "\n".join(lines)


def _spread(seconds: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    at = (len(ordered) - 1) / 10
    return ordered[int(at)] * 1000, ordered[-1 - int(at)] * 1000


def machine() -> str:
    """Describe this machine and how busy it is, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f} at the end{', root' if os.geteuid() == 0 else ''}"
    )


def publish(name: str, text: str, readme: Path = README) -> None:
    """Put `text` between the markers of that name in a README; they are added at its end if missing.

    The markers are `<!-- NAME:begin -->` and `<!-- NAME:end -->`, each on a line.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    content = readme.read_text()
    if begin not in content:
        content = f"{content.rstrip()}\n\n{begin}\n{end}\n"
    block = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    readme.write_text(block.sub(lambda _: f"{begin}\n{text.strip()}\n{end}", content, count=1))
