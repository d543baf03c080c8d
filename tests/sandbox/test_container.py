"""The container backend against the shipped suite; skipped by name where no container engine works."""

import asyncio
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.choose import choose
from overnight.sandbox.conformance import CONFINED, EVERY, Case
from overnight.sandbox.interface import SandboxBackend
from overnight.sandbox.room import Room

pytestmark = pytest.mark.anyio
SECRET = "canary-7f3a9c"


@functools.cache
def why_not() -> str:
    """Return why no container engine works here; empty where one does. Tried once a test process."""
    if shutil.which("podman") is None and shutil.which("docker") is None:
        return "neither podman nor docker is installed"
    with tempfile.TemporaryDirectory(prefix="overnight-container-trial-") as folder:
        try:
            asyncio.run(containers(Path(folder)))
        except SandboxUnavailableError as error:
            return error.message
    return ""


async def containers(state: Path) -> SandboxBackend:
    return await choose("container", state=state, search=os.environ["PATH"], home=Path.home())


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
async def test_container(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TEST_SECRET", SECRET)
    if reason := await asyncio.to_thread(why_not):
        pytest.skip(f"container: {reason}")
    backend = await containers(folder / "state")
    await case(Room(backend, folder, SECRET))
