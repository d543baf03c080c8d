"""What the loop itself costs: time a step at a long history, and memory of an attempt that waits.

All is real but the model, which thinks for `THINKS` seconds, and that no step runs a command: each reads a
file. A step's time is that from the model's answer to the next request: the conversation, the tool, events,
the redaction and the checkpoint. The log goes to disk meanwhile; what of that is not done when the model
answers is waited for, and counts.

    python -m bench.loop [STEPS] [ATTEMPTS]
"""

import asyncio
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from tests.agents.repair.workplace import Workplace

from overnight.agents.loop import Loop
from overnight.domain.conversation import Completion, Request, ToolCall
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.ports import SystemClock
from overnight.domain.task import Usage
from overnight.events.log import EventLog
from overnight.models.interface import OnDelta, OnLimit, OnWaiting
from overnight.models.scripted import PROFILE
from overnight.secrets.redaction import Redactor
from overnight.store.database import Database
from overnight.worker.discreet import DiscreetArtifacts, DiscreetModel

THINKS = 0.1
"""Less than any model takes for a first token and an answer."""
LAST_STEPS = 50
"""Steps at the end of the history whose median counts."""
STEP_GOAL_MS = 5.0
MEMORY_GOAL_MB = 3.0
FILES = {f"part_{number}.py": f"def f{number}():\n    return {number}\n" * 20 for number in range(50)}
SECRETS = [("TOKEN", "s3cr3t-value-of-a-token"), ("KEY", "another-value-0123456789")]


class Reading:
    """Reads one part of a file after the other; measures the time between its answers."""

    name = "bench"
    profile = msgspec.structs.replace(PROFILE, context_tokens=10_000_000)

    def __init__(self, steps: int, hold: asyncio.Event | None = None) -> None:
        self.between: list[float] = []
        self.waiting = asyncio.Event()
        self._steps = steps
        self._number = 0
        self._hold = hold
        self._answered = 0.0

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Answer with the next part to read; at the end hold on, or be done."""
        if self._answered:
            self.between.append(time.perf_counter() - self._answered)
        self._number += 1
        usage = Usage(model_calls=1, input_tokens=100 * self._number, output_tokens=20)
        if self._number > self._steps:
            self.waiting.set()
            if self._hold is not None:
                await self._hold.wait()
            return Completion(text="Done.", usage=usage)
        await asyncio.sleep(THINKS)
        arguments = {"path": f"part_{self._number % 50}.py", "start": self._number // 50 + 1, "lines": 10}
        call = ToolCall(id=f"c{self._number}", name="read", arguments=json.dumps(arguments))
        self._answered = time.perf_counter()
        return Completion(text="Let me look at the next part.", tool_calls=(call,), usage=usage)

    async def close(self) -> None:
        """Nothing to give back."""


async def run(place: Workplace, log: EventLog, model: Reading) -> None:
    """Carry out one attempt as a worker does."""
    redaction = Redactor(SECRETS)
    attempt = new_id()
    events = await log.writer(attempt, 1, redaction)
    assignment = msgspec.structs.replace(
        place.assignment(
            model, workspace=place.workspace(attempt), limits=Limits(steps=100_000, repeats=10**6)
        ),
        model=DiscreetModel(model, redaction),
        events=events,
        artifacts=DiscreetArtifacts(place.blobs, redaction),
    )
    await Loop().work(assignment)
    await events.close()
    assignment.workspace.close()


def own_memory() -> int:
    """Return the bytes that belong to this process alone."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Dirty:", "Private_Clean:")) and "Dirty" in line:
            return int(line.split()[1]) * 1024
    return 0


async def measure(folder: Path, steps: int, attempts: int) -> None:
    """Print both figures with their goals."""
    place = Workplace(folder, FILES)
    database = await Database.open(folder / "overnight.db")
    log = EventLog(database, SystemClock())
    await run(place, log, Reading(20))  # imports and caches
    model = Reading(steps)
    await run(place, log, model)
    last = sorted(model.between[-LAST_STEPS:])
    median = statistics.median(last) * 1000
    hold = asyncio.Event()
    gc.collect()
    before = own_memory()
    models = [Reading(20, hold) for _ in range(attempts)]
    work = [asyncio.create_task(run(place, log, one)) for one in models]
    for one in models:
        await one.waiting.wait()
    gc.collect()
    each = (own_memory() - before) / attempts / 1024**2
    hold.set()
    await asyncio.gather(*work)
    await database.close()
    early = statistics.median(model.between[:LAST_STEPS]) * 1000
    rows = (
        (f"ms a step, median of the last {len(last)} of {steps}", median, STEP_GOAL_MS),
        (f"MB an attempt that waits after 20 steps, {attempts} of them", each, MEMORY_GOAL_MB),
    )
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}",
        "",
        "| what | measured | goal | met |",
        "|---|---:|---:|---|",
        *(
            f"| {what} | {value:.2f} | {goal:g} | {'yes' if value < goal else 'no'} |"
            for what, value, goal in rows
        ),
        "",
        f"p10 {last[len(last) // 10] * 1000:.2f} ms, p90 {last[len(last) * 9 // 10] * 1000:.2f} ms; "
        f"the first {LAST_STEPS} steps {early:.2f} ms.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Measure."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    attempts = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory(prefix="overnight-bench-") as folder:
        asyncio.run(measure(Path(folder), steps, attempts))


if __name__ == "__main__":
    main()
