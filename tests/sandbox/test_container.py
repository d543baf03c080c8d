"""The container backend against the shipped suite; skipped by name where no container engine works."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.choose import choose
from overnight.sandbox.conformance import CONFINED, EVERY, Case
from overnight.sandbox.container.backend import ContainerBackend
from overnight.sandbox.room import NotApplicable, Room

pytestmark = pytest.mark.anyio
SECRET = "canary-7f3a9c"


async def containers(state: Path) -> ContainerBackend:
    """Return the backend itself, tried."""
    backend = await choose("container", state=state, search=os.environ["PATH"], home=Path.home())
    assert isinstance(backend, ContainerBackend)
    return backend


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A directory in which the engine was tried once for all tests; skips where none works."""
    if shutil.which("podman") is None and shutil.which("docker") is None:
        pytest.skip("container: neither podman nor docker is installed")
    path = Path(tempfile.mkdtemp(prefix="overnight-containers-"))
    path.chmod(0o755)
    try:
        try:
            asyncio.run(containers(path))
        except SandboxUnavailableError as error:
            pytest.skip(f"container: {error.message}")
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that an unprivileged uid may reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="overnight-container-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def _name(case: Case) -> str:
    return getattr(case, "__name__", str(case))


@pytest.mark.parametrize("case", [*EVERY, *CONFINED], ids=_name)
async def test_container(case: Case, state: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TEST_SECRET", SECRET)
    backend = await containers(state)
    try:
        await case(Room(backend, folder, SECRET))
    except NotApplicable as reason:
        pytest.skip(str(reason))
