"""One house for all tests of a module: its tasks and pull requests add up, as they do for people."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from overnight.cli.main import execute
from tests.house import FIX, Ended, House, make_repository

CHECK = "grep -q 'return a + b' calc.py"
"""As quick as a check can be: red on `BUGGY`, green once it is fixed."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for everything of a module."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def home(place: Path) -> House:
    """Return a house that the module's tests share."""
    root = place / "house"
    root.mkdir()
    return House(root)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a fresh buggy repository."""
    return make_repository(tmp_path / "repository")


def patching(home: House, patch: str = FIX, name: str = "patching") -> str:
    """Return a scripted model that applies `patch`, whatever attempt or process asks it."""
    return stepping(home, [{"name": "apply_patch", "arguments": {"patch": patch}}], name)


def stepping(home: House, calls: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return a scripted model that makes one call a step, and finds its place by the conversation.

    That is what a model does that is asked by several attempts, or by a process that goes on from another.
    """
    answers: list[dict[str, Any]] = []
    for number, call in enumerate(calls, 1):
        done = "".join(rf"(?=.*\bStep {before} )" for before in range(1, number))
        answers.append(
            {
                "text": f"Step {number} of the work.",
                "tool_calls": [call],
                "match_regex": rf"(?s)\A{done}(?!.*\bStep {number} )",
                "repeat": True,
            }
        )
    return home.script([*answers, {"text": "All done.", "repeat": True}], name)


def digest(folder: Path) -> str:
    """Return a digest over every name, mode, time of change and content below `folder`, `.git` included."""
    found = hashlib.sha256()
    for directory, names, files in os.walk(folder):
        names.sort()
        for name in sorted([*names, *files]):
            path = Path(directory) / name
            state = path.lstat()
            found.update(f"{path} {state.st_mode:o} {state.st_mtime_ns}\n".encode())
            if path.is_symlink():
                found.update(str(path.readlink()).encode())
            elif path.is_file():
                found.update(path.read_bytes())
    return found.hexdigest()


class Answer(Protocol):
    """Calls the command line and returns how it ended."""

    def __call__(self, *arguments: str, **variables: str) -> Ended: ...


@pytest.fixture
def answer(home: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Answer:
    """Call the command line of the module's house."""
    return calling(home, monkeypatch, capfd)


def calling(house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Answer:
    """Return what calls the command line inside this process: as real, and quicker by Python's start."""

    def call(*arguments: str, **variables: str) -> Ended:
        with monkeypatch.context() as patch:
            for name, value in {**house.environment, **variables}.items():
                patch.setenv(name, value)
            patch.chdir(house.root)
            capfd.readouterr()
            code = execute(list(arguments))
        shown = capfd.readouterr()
        return Ended(code, shown.out, shown.err)

    return call
