"""The backend under test, folders that the sandbox's user may reach, and a look at control groups."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.room import Room
from overnight.sandbox.tools import HostTools


def control_groups(owners: set[int]) -> set[str]:
    """Return the control groups that those processes made and that are still there."""
    found: set[str] = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):  # others' may vanish meanwhile
        for name in names:
            if name.startswith("overnight-") and int(name.split("-")[1]) in owners:
                found.add(f"{folder}/{name}")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="overnight-native-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def backend(folder: Path) -> NamespacesBackend:
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    return NamespacesBackend(tools, folder / "state")


@pytest.fixture
def room(backend: NamespacesBackend, folder: Path) -> Room:
    return Room(backend, folder)
