"""Fixtures for the tests of environments: a git repository, the real sandbox, snapshots."""

import os
import sys
from pathlib import Path

import pytest

from overnight.environments.snapshots import Snapshots
from overnight.sandbox.bubblewrap.arguments import find_bubblewrap
from overnight.sandbox.bubblewrap.backend import BubblewrapBackend
from overnight.sandbox.interface import SandboxBackend
from overnight.sandbox.tools import HostTools
from tests.environments.environment_parts import git
from tests.sink import Sink


@pytest.fixture
def sink() -> Sink:
    """Return an event sink that remembers."""
    return Sink()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return an empty git repository."""
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    return path


@pytest.fixture
def backend(tmp_path: Path) -> SandboxBackend:
    """Return the real sandbox of this machine."""
    search = os.environ["PATH"]
    tools = HostTools(search, Path.home(), Path(sys.prefix))
    state = tmp_path / "sandbox"
    state.mkdir()
    return BubblewrapBackend(find_bubblewrap(search), tools, state)


@pytest.fixture
def snapshots(tmp_path: Path, backend: SandboxBackend) -> Snapshots:
    """Return an empty folder of snapshots."""
    return Snapshots(tmp_path / "snapshots", backend)
