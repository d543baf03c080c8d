"""The backend under test, and folders that the sandbox's user may reach."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.room import Room
from overnight.sandbox.tools import HostTools


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
