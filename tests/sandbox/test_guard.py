"""The watch between commands: it ends what passes a bound, tells it once, and goes when nothing is left."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.limits import Limits
from overnight.sandbox.guard import Guard
from overnight.sandbox.interface import SandboxSpec

pytestmark = pytest.mark.anyio


@pytest.fixture
def root() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with a child, which it tells the pid of and waits for by reading on."""
    script = "sleep 3600 & echo $!; read -r line; kill $!; wait; echo gone; read -r line"
    process = subprocess.Popen(["/bin/bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    with process:
        process.communicate()


async def test_a_bound_that_is_passed_is_told_once(root: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    assert root.stdout is not None
    root.stdout.readline()
    told: list[str] = []
    stopped = asyncio.Event()
    spec = SandboxSpec(
        lower=(),
        upper=tmp_path,
        limits=Limits(disk_bytes=1024**2),
        on_limit=lambda name, _: told.append(name),
    )
    (tmp_path / "large").write_bytes(b"x" * 2 * 1024**2)
    guard = Guard(spec)
    guard.stand(root.pid, stopped.set, None)
    async with asyncio.timeout(120):
        await stopped.wait()
    assert "background" in await guard.leave()
    assert told == ["disk_bytes"]
    assert await guard.leave() == ""


async def test_it_goes_when_nothing_is_left(root: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    assert root.stdin is not None
    assert root.stdout is not None
    root.stdout.readline()
    root.stdin.write(b"\n")
    root.stdin.flush()
    assert root.stdout.readline() == b"gone\n"
    spec = SandboxSpec(lower=(), upper=tmp_path)
    guard = Guard(spec)
    before = asyncio.all_tasks()
    guard.stand(root.pid, root.kill, None)
    standing = asyncio.all_tasks() - before
    async with asyncio.timeout(120):
        await asyncio.wait(standing)
    assert root.poll() is None
    assert await guard.leave() == ""
