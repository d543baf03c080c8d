"""Workspaces on file systems of their own: full for themselves only, small while idle, and let go."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from overnight.blobs.store import BlobStore
from overnight.domain.limits import Limits
from overnight.environments import volumes as module
from overnight.environments.interface import Workspace
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.volumes import Volumes, is_mounted, let_go
from overnight.environments.workspaces import Workspaces
from overnight.sandbox.interface import Command, CommandResult, SandboxBackend
from tests.environments.environment_parts import PLAIN, commit_all, mirrored
from tests.sink import Sink

pytestmark = pytest.mark.anyio

MIB = 1024**2


@pytest.fixture
async def volumes(tmp_path: Path) -> Volumes:
    found = Volumes(tmp_path / "volumes", 24 * MIB)
    if not await found.prepare():
        pytest.skip("this machine mounts no volumes")
    return found


@pytest.fixture
async def snapshot(snapshots: Snapshots, repository: Path, tmp_path: Path, sink: Sink) -> Snapshot:
    commit = commit_all(repository, {"a": "a\n", "d/b": "b\n"})
    return await snapshots.prepare(await mirrored(tmp_path, repository), commit, PLAIN, sink)


@pytest.fixture
def workspaces(tmp_path: Path, backend: SandboxBackend, volumes: Volumes) -> Workspaces:
    return Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs"), volumes)


async def run(backend: SandboxBackend, workspace: Workspace, script: str) -> CommandResult:
    spec = msgspec.structs.replace(workspace.spec(), limits=Limits(disk_bytes=24 * MIB))
    sandbox = backend.open(spec)
    try:
        return await sandbox.run(Command(script=script, seconds=120))
    finally:
        await sandbox.close()


async def test_who_fills_his_own_fills_no_other(
    workspaces: Workspaces, snapshot: Snapshot, backend: SandboxBackend, tmp_path: Path
) -> None:
    greedy, other = workspaces.create(snapshot, "greedy"), workspaces.create(snapshot, "other")
    try:
        for where in ("full", "/tmp/full", "$HOME/full"):
            result = await run(backend, greedy, f"dd if=/dev/zero of={where} bs=1M count=100")
            assert b"No space left" in result.stderr, result
            assert result.limit == "disk_bytes"
            result = await run(backend, greedy, f"rm {where}; echo fits > fits && rm -f a && git status -s")
            assert result.exit_code == 0, result
        result = await run(backend, other, "dd if=/dev/zero of=some bs=1M count=10 && rm a && cat d/b")
        assert result.exit_code == 0, result
        assert result.stdout == b"b\n"
        assert {change.path for change in greedy.changes()} == {"fits", "a"}
    finally:
        greedy.close()
        other.close()
    assert list((tmp_path / "workspaces").iterdir()) == []


async def test_an_idle_workspace_is_small(
    workspaces: Workspaces, snapshot: Snapshot, backend: SandboxBackend, tmp_path: Path
) -> None:
    workspace = workspaces.create(snapshot, "idle")
    assert (await run(backend, workspace, "git status; ls")).exit_code == 0
    os.sync()
    assert (tmp_path / "workspaces/idle.volume").stat().st_blocks * 512 < 200_000
    place = workspace.spec().upper.parent
    assert is_mounted(place)
    workspace.close()
    assert not place.exists()


async def test_forks_and_checkpoints_over_volumes(
    workspaces: Workspaces, snapshot: Snapshot, backend: SandboxBackend
) -> None:
    first = workspaces.create(snapshot, "first")
    try:
        assert (
            await run(backend, first, "echo 1 > new; rm a; ln -s x y; echo '*.o' > .gitignore; touch b.o")
        ).exit_code == 0
        digest = await first.checkpoint()
        forks = [
            await workspaces.fork(snapshot, digest, "of-checkpoint"),
            await workspaces.fork(snapshot, first, "of-workspace"),
            await workspaces.fork(snapshot, first, "whole", ignored=True),
        ]
        try:
            assert [fork.export() == first.export() for fork in forks] == [True] * 3
            seen = [(await run(backend, fork, "ls; echo own > new")).stdout.split() for fork in forks]
            assert [b"b.o" in names for names in seen] == [False, False, True]
            assert first.read("new") == b"1\n"
        finally:
            for fork in forks:
                fork.close()
    finally:
        first.close()


async def test_a_ready_volume_is_put_in_place(
    workspaces: Workspaces, volumes: Volumes, snapshot: Snapshot, backend: SandboxBackend, tmp_path: Path
) -> None:
    volumes.fill()
    volumes.fill()
    images = sorted((tmp_path / "volumes").glob("ready-*"))
    assert len(images) == module.READY
    assert await Volumes(tmp_path / "volumes", 24 * MIB).prepare()
    assert sorted((tmp_path / "volumes").glob("ready-*")) == images, "they belong to somebody"
    workspace = workspaces.create(snapshot, "quick")
    try:
        assert len(list((tmp_path / "volumes").glob("ready-*"))) == module.READY - 1
        assert is_mounted(workspace.spec().upper.parent)
        assert (await run(backend, workspace, "echo > new; rm a")).exit_code == 0
        assert {change.path for change in workspace.changes()} == {"a", "new"}
    finally:
        workspace.close()
        volumes.close()
    assert list((tmp_path / "volumes").glob("ready-*")) == []
    (tmp_path / "volumes/ready-x.volume").touch()
    await volumes.prepare()
    assert list((tmp_path / "volumes").glob("ready-*")) == [], "what a dead process left"


HOLDER = """
import asyncio, os, sys
from pathlib import Path
from overnight.environments.volumes import Volumes
from overnight.environments import workspaces
root = Path(sys.argv[1])
volumes = Volumes(root / "volumes", int(sys.argv[2]))
asyncio.run(volumes.prepare())
lock = workspaces._hold(root / "workspaces", "left")
place = root / "workspaces/left"
place.mkdir()
volumes.mount(place)
(place / "upper").mkdir()
print("mounted", flush=True)
sys.stdin.read()
"""


async def test_volumes_of_the_dead_are_let_go(
    workspaces: Workspaces, volumes: Volumes, tmp_path: Path
) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", HOLDER, str(tmp_path), str(24 * MIB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    place = tmp_path / "workspaces/left"
    try:
        assert process.stdout.readline() == b"mounted\n"
        assert is_mounted(place)
        assert workspaces.sweep() == [], "its owner lives"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert is_mounted(place)
        assert workspaces.sweep() == ["left"]
        assert list((tmp_path / "workspaces").iterdir()) == []
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        let_go(place)


async def test_without_volumes_a_workspace_is_measured(
    workspaces: Workspaces, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRIES", 0)  # as where no loop device is left
    workspace = workspaces.create(snapshot, "measured")
    try:
        assert not workspace.spec().bounded
        assert not is_mounted(workspace.spec().upper.parent)
    finally:
        workspace.close()


async def test_mounts_of_a_process_of_its_own_end_with_it(volumes: Volumes, tmp_path: Path) -> None:
    script = HOLDER.replace(
        "root = ",
        "from overnight.environments.volumes import enter_own_mounts\nassert enter_own_mounts()\nroot = ",
        1,
    )
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", script, str(tmp_path), str(24 * MIB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    place = tmp_path / "workspaces/left"
    try:
        assert process.stdout.readline() == b"mounted\n"
        assert (tmp_path / "workspaces/left.volume").exists()
        assert not is_mounted(place), "nobody else sees it"
        assert (Path(f"/proc/{process.pid}/root") / place.relative_to("/") / "upper").is_dir()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
