"""Real parts for the tests of environments: a git repository, its mirror, the sandbox, snapshots."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.domain.environment import Recipe
from overnight.domain.events import Event
from overnight.environments.snapshots import Snapshots
from overnight.git.mirror import Mirror
from overnight.sandbox.bubblewrap import find_bubblewrap
from overnight.sandbox.interface import SandboxBackend
from overnight.sandbox.namespaces import NamespacesBackend
from overnight.sandbox.tools import HostTools

MakeRepository = Callable[[dict[str, str | bytes]], tuple[Path, str]]


class Sink:
    """Keeps the events that were emitted."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep `event`."""
        self.events.append(event)

    async def flush(self) -> None:
        """Do nothing: all is in memory."""


def git(directory: Path, *arguments: str) -> str:
    """Run git as the owner of a test repository."""
    variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    answer = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, env=variables, capture_output=True, check=True
    )
    return answer.stdout.decode().strip()


def commit_all(directory: Path, files: dict[str, str | bytes]) -> str:
    """Write files, commit everything, and return the commit."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(directory, "add", "-A", "-f")
    git(directory, "commit", "-q", "-m", "files", "--allow-empty")
    return git(directory, "rev-parse", "HEAD")


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
    return NamespacesBackend(find_bubblewrap(search), tools, state)


@pytest.fixture
def snapshots(tmp_path: Path, backend: SandboxBackend) -> Snapshots:
    """Return an empty folder of snapshots."""
    return Snapshots(tmp_path / "snapshots", backend)


async def mirrored(tmp_path: Path, repository: Path) -> Mirror:
    """Return an up-to-date mirror of a repository."""
    mirror = await Mirror.open(tmp_path / "mirrors", str(repository))
    await mirror.fetch()
    return mirror


PLAIN = Recipe(checks=("true",))
