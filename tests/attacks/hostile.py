"""A place that attacks share: one repository, its snapshot and the real sandbox over fresh workspaces."""

import asyncio
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.domain.limits import Limits
from overnight.domain.patch import FileChange
from overnight.environments.interface import Change, Workspace
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.git.mirror import Mirror
from overnight.sandbox.choose import choose
from overnight.sandbox.interface import Command, CommandResult, SandboxBackend
from tests.house import BUGGY, make_repository
from tests.sink import Sink

LIMITS = Limits(command_seconds=20.0)
"""An attack that nothing stops ends by time: then the test fails, it does not hang."""


@dataclass(frozen=True)
class Place:
    """Everything an attempt's commands run over, beneath one directory of the host."""

    root: Path
    backend: SandboxBackend
    mirror: Mirror
    snapshot: Snapshot
    workspaces: Workspaces

    @classmethod
    async def make(cls, root: Path) -> "Place":
        """Build a snapshot of a small repository."""
        repository = make_repository(root / "repository", BUGGY)
        backend = await choose("auto", state=root / "state", search=os.environ["PATH"], home=Path.home())
        mirror = await Mirror.open(root / "mirrors", str(repository))
        await mirror.fetch()
        snapshots = Snapshots(root / "snapshots", backend)
        recipe = Recipe(tools=("python3",))
        snapshot = await snapshots.prepare(mirror, await mirror.resolve("main"), recipe, Sink())
        workspaces = Workspaces(root / "workspaces", backend, BlobStore(root / "blobs"))
        return cls(root, backend, mirror, snapshot, workspaces)

    @contextmanager
    def workspace(self) -> Generator[Workspace]:
        """Open a fresh workspace."""
        workspace = self.workspaces.create(self.snapshot, f"attack-{uuid.uuid4().hex[:12]}")
        try:
            yield workspace
        finally:
            workspace.close()

    def run_in(self, workspace: Workspace, script: str, limits: Limits = LIMITS) -> CommandResult:
        """Run a command of the attacker over `workspace`."""
        return asyncio.run(self._run(workspace, script, limits))

    async def _run(self, workspace: Workspace, script: str, limits: Limits) -> CommandResult:
        sandbox = self.backend.open(msgspec.structs.replace(workspace.spec(), limits=limits))
        try:
            return await sandbox.run(Command(script=script))
        finally:
            await sandbox.close()

    def run(self, script: str, limits: Limits = LIMITS) -> CommandResult:
        """Run a command of the attacker in a fresh workspace."""
        with self.workspace() as workspace:
            return self.run_in(workspace, script, limits)

    def changes(self, script: str) -> list[Change]:
        """Run a command of the attacker and return the changes that the host sees."""
        with self.workspace() as workspace:
            done = self.run_in(workspace, script)
            assert done.exit_code == 0, done
            return workspace.changes()

    def exported(self, script: str) -> dict[str, FileChange]:
        """Run a command of the attacker and return what would become its patch, by path."""
        with self.workspace() as workspace:
            done = self.run_in(workspace, script)
            assert done.exit_code == 0, done
            return {change.path: change for change in workspace.export()}
