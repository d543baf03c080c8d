"""Proves that every solve task is broken as stored and whole with its solution.

Run as `python -m bench.solve.validate [NAME…]`.
"""

import ast
import os
import shlex
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from bench.solve.materialize import (
    OPEN,
    SEALED,
    SolveTask,
    apply_solution,
    load_tasks,
    materialize,
)


@dataclass(frozen=True)
class Outcome:
    """What a run of tests came to; `exit_code` is the runner's."""

    exit_code: int
    passed: frozenset[str]
    failed: frozenset[str]


def main(names: list[str]) -> int:
    tasks = [
        task for folder in (OPEN, SEALED) for task in load_tasks(folder) if not names or task.name in names
    ]
    bad = 0
    for task in tasks:
        with tempfile.TemporaryDirectory() as scratch:
            problems = _problems(task, Path(scratch))
        bad += bool(problems)
        print(f"{'BAD ' if problems else 'ok  '} {task.name:<28} {'; '.join(problems)}")
    print(f"{len(tasks) - bad} of {len(tasks)} tasks hold")
    return 1 if bad or not tasks else 0


def _problems(task: SolveTask, scratch: Path) -> list[str]:
    repository = scratch / "repository"
    materialize(task, repository)
    found = _shape_problems(task, repository)
    before_checks = [_check(repository, check, scratch) for check in task.checks]
    before = _check(repository, "python -m pytest -q", scratch)
    apply_solution(task, repository)
    after_checks = [_check(repository, check, scratch) for check in task.checks]
    after = _check(repository, "python -m pytest -q", scratch)

    if all(outcome.exit_code == 0 for outcome in before_checks):
        found.append("no check fails on the base")
    if before.exit_code != 1 or not before.failed:
        found.append(f"no test fails on the base (exit {before.exit_code})")
    if not before.passed:
        found.append("no other test passes on the base")
    if any(outcome.exit_code != 0 for outcome in after_checks):
        found.append("a check fails with the solution")
    if after.exit_code != 0 or after.failed:
        found.append(f"with the solution still failing: {', '.join(sorted(after.failed))}")
    if before.passed | before.failed != after.passed:
        found.append("the solution changes which tests there are")
    return found


def _shape_problems(task: SolveTask, repository: Path) -> list[str]:
    found: list[str] = []
    if task.folder.name != task.name:
        found.append("folder and name differ")
    target = repository / task.target_file
    if not target.is_file():
        return [*found, f"no file {task.target_file}"]
    names = {
        node.name
        for node in ast.walk(ast.parse(target.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if task.target_function.rpartition(".")[2] not in names:
        found.append(f"no function {task.target_function}")
    for path in task.solution.rglob("*.py"):
        if not (task.repository / path.relative_to(task.solution)).is_file():
            found.append(f"the solution adds {path.name}")
        if "tests" in path.relative_to(task.solution).parts:
            found.append("the solution changes a test")
    return found


def _check(repository: Path, command: str, scratch: Path) -> Outcome:
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    report = scratch / "report.xml"
    report.unlink(missing_ok=True)
    if "pytest" in words:
        words += [f"--junit-xml={report}", "-p", "no:cacheprovider"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(words, cwd=repository, env=environment, capture_output=True, timeout=120)
    passed: set[str] = set()
    failed: set[str] = set()
    if report.is_file():
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            broken = case.find("failure") is not None or case.find("error") is not None
            (failed if broken else passed).add(name)
    return Outcome(done.returncode, frozenset(passed), frozenset(failed))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
