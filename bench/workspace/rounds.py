"""One repository's rounds: every row once a round, one after the other, so that a busy moment hits all."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from tests.house import CLEAN_GIT

from bench.sandbox import without_pool
from bench.workspace.repositories import git
from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.domain.events import Event
from overnight.domain.task import Limits
from overnight.environments.interface import Workspace
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.volumes import Volumes
from overnight.environments.workspaces import Workspaces
from overnight.git.commit import commit_changes
from overnight.git.mirror import Mirror
from overnight.git.objects import diff_and_numstat
from overnight.sandbox.interface import Command, SandboxBackend

READY = "workspace in a ready sandbox, first command done"
COLD = "all made when it is wanted: volume, control group, id maps, sandbox, first command"
BARE = "the same without volume, control group and id maps"
ALONE = "workspace alone"
STATUS = "first git status inside"
PLAIN = "first git status over a plain overlay"
CHECKPOINT = "checkpoint after a 3-file change"
FORK = "fork"
PATCH = "patch out of the workspace"
ADVANCE = "base advanced to a commit that changes 20 files"
WORKTREE, SHARED, COPY = "git worktree add", "git clone --shared", "cp -a"
DISK = "disk of an idle workspace, KB"
OURS = (READY, COLD, BARE, ALONE, STATUS, PLAIN, CHECKPOINT, FORK, PATCH, ADVANCE)
TRUE = Command(argv=("true",))
THEIRS = (WORKTREE, SHARED, COPY)


class Silent:
    """An event sink that keeps nothing."""

    def emit(self, event: Event) -> None:
        """Let it go."""

    async def flush(self) -> None:
        """Return at once."""


class Rounds:
    """The rows of one repository. `times` are milliseconds by row."""

    def __init__(
        self, folder: Path, repository: Path, backend: SandboxBackend, only: tuple[str, ...]
    ) -> None:
        self.times: dict[str, list[float]] = {}
        self.disk = 0
        self._folder = folder
        self._repository = repository
        self._backend = backend
        self._only = only
        self._count = 0

    async def prepare(self) -> None:
        """Build what is there before the first attempt: mirror and snapshot."""
        self._blobs = BlobStore(self._folder / "blobs")
        self._volumes = Volumes(self._folder / "volumes", Limits().disk_bytes)
        bounded = self._volumes if await self._volumes.prepare() else None
        self._workspaces = Workspaces(self._folder / "workspaces", self._backend, self._blobs, bounded)
        self._unbounded = Workspaces(self._folder / "unbounded", self._backend, self._blobs)
        self._anew, self._bare = self._backend, self._backend
        if self._backend.name == "namespaces":
            self._anew, self._bare = without_pool(self._folder), without_pool(self._folder, bare=True)
        self._mirror = await Mirror.open(self._folder / "mirrors", str(self._repository))
        await self._mirror.fetch()
        self._commit, self._next = await self._mirror.resolve("main"), await self._mirror.resolve("next")
        self._snapshots = Snapshots(self._folder / "snapshots", self._backend)
        self._snapshot = await self._snapshots.prepare(self._mirror, self._commit, Recipe(), Silent())
        self._plain = self._folder / "checkout"
        git(self._folder, "clone", "-q", "--shared", str(self._repository), str(self._plain))

    async def round(self, theirs: bool) -> None:
        """Measure every row once; those of others only with `theirs`: they take seconds on large trees."""
        rows: dict[str, Callable[[], Awaitable[None]]] = {
            READY: self._ready, COLD: self._cold, BARE: self._without,
            ALONE: self._alone, STATUS: self._status,
            PLAIN: self._plain_status, CHECKPOINT: self._work, ADVANCE: self._advance,
        }  # fmt: skip
        for name, row in rows.items():
            if self._wanted(name):
                await row()
        for name, command in self._others() if theirs else ():
            if self._wanted(name):
                await self._other(name, command)

    def close(self) -> None:
        """Let go of what is held."""
        self._volumes.close()
        self._snapshots.close()

    def _wanted(self, name: str) -> bool:
        return not self._only or any(part in name for part in self._only)

    def _note(self, name: str, started: float) -> None:
        self.times.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    def _new(self, snapshot: Snapshot | None = None) -> Workspace:
        self._count += 1
        return self._workspaces.create(snapshot or self._snapshot, f"w{self._count}")

    async def _ready(self) -> None:
        # A volume and, where the backend keeps some, a sandbox stand ready, as when an attempt comes.
        await asyncio.to_thread(self._volumes.fill)
        await asyncio.sleep(0.1)
        await self._first(READY, self._workspaces, self._backend)

    async def _cold(self) -> None:
        self._volumes.close()
        await self._first(COLD, self._workspaces, self._anew)

    async def _without(self) -> None:
        await self._first(BARE, self._unbounded, self._bare)

    async def _first(self, name: str, workspaces: Workspaces, backend: SandboxBackend) -> None:
        self._count += 1
        started = time.perf_counter()
        workspace = workspaces.create(self._snapshot, f"w{self._count}")
        sandbox = backend.open(workspace.spec())
        try:
            result = await sandbox.run(TRUE)
            self._note(name, started)
        finally:
            await sandbox.close()
        assert result.exit_code == 0, result
        if name == READY and not self.disk:
            os.sync()
            self.disk = _idle_bytes(workspace.spec().upper.parent)
        workspace.close()

    async def _alone(self) -> None:
        started = time.perf_counter()
        workspace = self._new()
        self._note(ALONE, started)
        workspace.close()

    async def _status(self) -> None:
        await self._timed_status(self._snapshot, STATUS)

    async def _plain_status(self) -> None:
        await self._timed_status(msgspec.structs.replace(self._snapshot, warm=None), PLAIN)

    async def _timed_status(self, snapshot: Snapshot, name: str) -> None:
        workspace = self._new(snapshot)
        sandbox = self._backend.open(workspace.spec())
        try:
            await sandbox.run(TRUE)
            started = time.perf_counter()
            result = await sandbox.run(Command(script="git status --porcelain"))
            self._note(name, started)
        finally:
            await sandbox.close()
            workspace.close()
        assert (result.exit_code, result.stdout) == (0, b""), result

    async def _work(self) -> None:
        """A 3-file change, its checkpoint, a fork, and the patch."""
        workspace = self._new()
        paths = self._snapshot.paths()
        changed = [path for path in paths[:: max(1, len(paths) // 3)] if workspace.read(path) is not None][:3]
        for path in changed:
            workspace.write(path, f"changed {self._count} {path}\n".encode())
        started = time.perf_counter()
        digest = await workspace.checkpoint()
        self._note(CHECKPOINT, started)
        await asyncio.to_thread(self._volumes.fill)
        started = time.perf_counter()
        fork = await self._workspaces.fork(self._snapshot, digest, f"f{self._count}")
        self._note(FORK, started)
        assert len(fork.changes()) == len(changed)
        fork.close()
        started = time.perf_counter()
        commit = await commit_changes(
            self._mirror, self._commit, workspace.export(), "change", "overnight/bench-1", at=1_700_000_100.0
        )
        text, counts = await diff_and_numstat(self._mirror, self._commit, commit)
        self._blobs.put(text)
        self._note(PATCH, started)
        assert len(counts) == len(changed)
        workspace.close()

    async def _advance(self) -> None:
        started = time.perf_counter()
        snapshot = await self._snapshots.prepare(self._mirror, self._next, Recipe(), Silent())
        self._note(ADVANCE, started)
        assert len(snapshot.checkout) == 2
        self._snapshots.close()
        # Only what was derived goes again.
        for key in snapshot.keys:
            if key not in self._snapshot.keys:
                kind, _, name = key.partition("-")
                shutil.rmtree(self._folder / "snapshots" / kind / name)

    def _others(self) -> tuple[tuple[str, list[str]], ...]:
        target = str(self._folder / "other")
        return (
            (WORKTREE, ["git", "-C", str(self._plain), "worktree", "add", "-q", "--detach", target]),
            (SHARED, ["git", "clone", "-q", "--shared", str(self._repository), target]),
            (COPY, ["cp", "-a", str(self._plain), target]),
        )

    async def _other(self, name: str, command: list[str]) -> None:
        started = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, **CLEAN_GIT}, capture_output=True)  # noqa: ASYNC221
        self._note(name, started)
        shutil.rmtree(self._folder / "other")
        if name == WORKTREE:
            git(self._plain, "worktree", "prune")


def _idle_bytes(place: Path) -> int:
    image = place.with_name(f"{place.name}.volume")
    if image.exists():
        return image.stat().st_blocks * 512
    return sum(path.lstat().st_blocks * 512 for path in (place, *place.rglob("*")))
