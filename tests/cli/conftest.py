"""One house for all tests of a module: its tasks, snapshots and pull requests add up, as they do for people."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House, make_repository

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
def repository(tmp_path: Path) -> Iterator[Path]:
    """Return a fresh buggy repository."""
    yield make_repository(tmp_path / "repository")


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
                found.update(os.readlink(path).encode())
            elif path.is_file():
                found.update(path.read_bytes())
    return found.hexdigest()
