"""`python -m bench.solve`: how many tasks `repair` solves, against the same model asked once.

Every arm is judged alike: its patch goes through `overnight run` and counts when it is verified. Results
are kept line by line in `bench/results/solve.jsonl`; an interrupted run goes on where it stood.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.solve.baselines import one_function, whole_file
from bench.solve.materialize import OPEN, SEALED, SolveTask, load_tasks, materialize
from bench.solve.table import Result, table
from overnight.cli.wire import Application, opened, read_settings
from overnight.domain.events import Event
from overnight.domain.network import Network

RESULTS = Path(__file__).parent.parent / "results"
ARMS = ("repair", "function", "file")


class _Unheard:
    """Takes events that nobody reads."""

    def emit(self, event: Event) -> None:
        """Let it go."""

    async def flush(self) -> None:
        """Wait for nothing."""


class Bench:
    """One benchmark run over a data directory of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.limit: str = options.limit
        self.attempts: int = options.attempts
        self.folder = RESULTS / "solve"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = RESULTS / "solve.jsonl"
        self.environment = {**os.environ, "OVERNIGHT_DATA_DIR": str(self.folder / "data")}

    def load(self) -> list[Result]:
        """Return the results so far."""
        if not self.file.exists():
            return []
        return [Result(**json.loads(line)) for line in self.file.read_text().splitlines()]

    def keep(self, result: Result) -> None:
        """Write one result down."""
        with self.file.open("a") as file:
            file.write(json.dumps(result.as_dict()) + "\n")

    def repository(self, task: SolveTask) -> Path:
        """Return the task's repository, made if it is not there yet."""
        path = self.folder / "repositories" / task.name
        if not (path / ".git").exists():
            shutil.rmtree(path, ignore_errors=True)
            materialize(task, path)
        return path

    def run(self, task: SolveTask, *more: str) -> dict[str, Any]:
        """Run `overnight run --json` on the task."""
        command = [sys.executable, "-m", "overnight", "run", task.prompt, "--json"]
        command += ["--repo", str(self.repository(task)), *more]
        for check in task.checks:
            command += ["--check", check]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise SystemExit(
                f"{task.name}: overnight run ended with {done.returncode}\n{done.stderr[-2000:]}"
            )
        return json.loads(done.stdout)

    def repair(self, task: SolveTask) -> tuple[bool, bool, float, int]:
        """Return (first attempt verified, any verified, seconds, tokens)."""
        started = time.monotonic()
        shown = self.run(
            task, "--agent", "repair", "--model", "embedded", "--limit", self.limit,
            "--attempts", str(self.attempts),
        )  # fmt: skip
        verified = [bool(one["verdict"] and one["verdict"]["verified"]) for one in shown["attempts"]]
        usage = [one["usage"] for one in shown["attempts"]]
        tokens = sum(one["input_tokens"] + one["output_tokens"] for one in usage)
        return verified[0], any(verified), time.monotonic() - started, tokens

    async def baseline(
        self, application: Application, task: SolveTask, arm: str, seed: int
    ) -> tuple[bool, bool, float, int]:
        """Ask once, then have the answer verified as a patch."""
        started = time.monotonic()
        path = self.repository(task) / task.target_file
        code = path.read_text()
        output = await self.failure(application, task)
        model = application.models.open("embedded")
        if arm == "file":
            answer = await whole_file(model, task.prompt, task.target_file, code, output, seed)
        else:
            answer = await one_function(model, task.prompt, code, task.target_function, output, seed)
        tokens = (len(code) + len(output) + len(answer or "")) // 4
        if answer is None or answer.strip() == code.strip():
            return False, False, time.monotonic() - started, tokens
        lines = "".join(f"+{line}\n" for line in answer.splitlines())
        patch = (
            f"*** Begin Patch\n*** Delete File: {task.target_file}\n*** Add File: {task.target_file}\n"
            f"{lines}*** End Patch"
        )
        script = self.folder / "answer.json"
        calls = [{"name": "apply_patch", "arguments": {"patch": patch}}]
        script.write_text(json.dumps({"answers": [{"text": "", "tool_calls": calls}, {"text": "Done."}]}))
        shown = self.run(task, "--agent", "loop", "--model", f"scripted:{script}")
        verdict = shown["attempts"][0]["verdict"]
        solved = bool(verdict and verdict["verified"])
        return solved, solved, time.monotonic() - started, tokens

    async def failure(self, application: Application, task: SolveTask) -> str:
        """Return the end of what the failing checks print."""
        from overnight.domain.limits import Limits

        admission = await application.repositories.admit(str(self.repository(task)), None, Path.cwd())
        printed = bytearray()
        for check in task.checks:
            await application.work.execute(
                admission, ("bash", "-c", check), Network(), "auto", Limits(), _Unheard(),
                lambda _, data: printed.extend(data), lend=False,
            )  # fmt: skip
        return printed.decode("utf-8", "replace")[-1500:]


async def measure(bench: Bench, tasks: Sequence[tuple[SolveTask, bool]], repetitions: int) -> None:
    """Run what is missing: every task once, then all again, so that an early end is still a fair sample."""
    have = {(result.task, result.arm, result.repetition) for result in bench.load()}
    settings = read_settings(bench.environment)
    for repetition in range(1, repetitions + 1):
        for task, sealed in tasks:
            for arm in ARMS:
                if (task.name, arm, repetition) in have:
                    continue
                if arm == "repair":
                    found = await asyncio.to_thread(bench.repair, task)
                else:
                    async with opened(settings) as application:
                        found = await bench.baseline(application, task, arm, seed=repetition)
                result = Result(task.name, sealed, arm, repetition, *found)
                bench.keep(result)
                name = "(sealed)" if sealed else task.name
                print(
                    f"{repetition} {arm:9} {name:20} first {result.solved!s:5} any {result.solved_all!s:5} "
                    f"{result.seconds:6.1f} s {result.tokens:6} tokens",
                    flush=True,
                )


def main() -> None:
    """Measure what is missing and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.solve", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--attempts", type=int, default=4)
    parser.add_argument("--limit", default="45s", help="time of one attempt's work")
    parser.add_argument("--tasks", type=int, default=0, help="only the first so many open tasks; 0: all")
    parser.add_argument("--report", action="store_true", help="only print what was measured so far")
    options = parser.parse_args()
    bench = Bench(options)
    open_tasks = load_tasks(OPEN)[: options.tasks or None]
    tasks = [(task, False) for task in open_tasks] + [(task, True) for task in load_tasks(SEALED)]
    # A fixed shuffle: wherever a run is broken off, it has seen a fair sample of both kinds.
    random.Random(20261122).shuffle(tasks)
    if not options.report:
        asyncio.run(measure(bench, tasks, options.repetitions))
    results = bench.load()
    for title, sealed in (("Open tasks", False), ("Sealed tasks", True)):
        print(f"\n{title}\n\n{table([result for result in results if result.sealed == sealed])}")


if __name__ == "__main__":
    main()
