"""A solve task as stored here, and as the git repository an agent gets to see."""

import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from bench.solve.filler import write_filler

HERE = Path(__file__).parent
OPEN = HERE / "tasks"
SEALED = HERE / "sealed"

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Solve Bench",
    "GIT_AUTHOR_EMAIL": "solve@bench.invalid",
    "GIT_AUTHOR_DATE": "2026-01-05T09:00:00+00:00",
    "GIT_COMMITTER_NAME": "Solve Bench",
    "GIT_COMMITTER_EMAIL": "solve@bench.invalid",
    "GIT_COMMITTER_DATE": "2026-01-05T09:00:00+00:00",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class SolveTask:
    """One repair. `target_*` and `solution` are for baselines and reports, never for an agent."""

    name: str
    kind: str
    prompt: str
    checks: tuple[str, ...]
    target_file: str
    target_function: str
    filler: int
    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    @property
    def solution(self) -> Path:
        return self.folder / "solution"


def load_tasks(folder: Path) -> list[SolveTask]:
    """The tasks below a folder, by name."""
    return [_load(path.parent) for path in sorted(folder.glob("*/task.toml"))]


def materialize(task: SolveTask, destination: Path) -> str:
    """Write the task's repository with its filler and commit it; returns the commit.

    The commit is the same on every machine.
    """
    destination.mkdir(parents=True, exist_ok=True)
    if any(destination.iterdir()):
        raise FileExistsError(f"{destination} is not empty")
    _copy(task.repository, destination)
    write_filler(destination, task.filler, task.name)
    (destination / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n", encoding="utf-8")
    _git(destination, "init", "--quiet", "--initial-branch=main")
    _git(destination, "-c", "core.autocrlf=false", "add", "--all")
    _git(destination, "commit", "--quiet", "--no-gpg-sign", "--message=Import")
    return _git(destination, "rev-parse", "HEAD")


def apply_solution(task: SolveTask, destination: Path) -> None:
    """Put the known answer over a materialized repository."""
    _copy(task.solution, destination)


def _copy(source: Path, destination: Path) -> None:
    # Bytecode that a stray test run left in the stored folder must not reach the commit.
    ignore = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    shutil.copytree(source, destination, dirs_exist_ok=True, ignore=ignore)


def _load(folder: Path) -> SolveTask:
    with (folder / "task.toml").open("rb") as file:
        data = tomllib.load(file)
    return SolveTask(
        name=str(data["name"]),
        kind=str(data["kind"]),
        prompt=str(data["prompt"]).strip(),
        checks=tuple(str(check) for check in data["checks"]),
        target_file=str(data["target_file"]),
        target_function=str(data["target_function"]),
        filler=int(data["filler"]),
        folder=folder,
    )


def _git(repository: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | _IDENTITY
    done = subprocess.run(
        ["git", *arguments],
        cwd=repository,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
