"""Makes workspaces over snapshots, knows those on disk, and removes those that a killed process left."""

import fcntl
import os
import re
from pathlib import Path

from overnight.blobs.store import BlobStore
from overnight.domain.errors import ConflictError, UsageError
from overnight.environments.beneath import remove_tree, take_directory
from overnight.environments.copied import CopiedWorkspace
from overnight.environments.interface import Workspace
from overnight.environments.layered import LayeredWorkspace
from overnight.environments.overlay import OverlayWorkspace
from overnight.environments.snapshot import Snapshot
from overnight.environments.volumes import VOLUME_SUFFIX, Volumes, let_go
from overnight.sandbox.interface import SandboxBackend

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LOCK, _VOLUME = ".lock", VOLUME_SUFFIX
_OWN = (_LOCK, _VOLUME)
"""How the names of files beside a workspace's folder end."""


class Workspaces:
    """The workspaces beneath one directory. Several processes may share it.

    With `volumes` each lies on a file system of its own, as large as they are; without, what a command
    writes is measured while it runs.
    """

    def __init__(
        self, root: Path, backend: SandboxBackend, blobs: BlobStore, volumes: Volumes | None = None
    ) -> None:
        self._root = root
        self._backend = backend
        self._blobs = blobs
        self._volumes = volumes

    def create(self, snapshot: Snapshot, name: str) -> Workspace:
        """Return a fresh workspace; what a killed process left under the same name is removed first.

        Raises:
            ConflictError: a living process holds a workspace of that name.
        """
        if not _NAME.fullmatch(name) or name.endswith(_OWN):
            raise UsageError(f"Not a name for a workspace: {name!r}")
        lock = _hold(self._root, name)
        if lock is None:
            raise ConflictError(f"Workspace {name!r} is in use by another process")
        try:
            return self._make(snapshot, self._root / name, lock)
        except BaseException:
            _remove(self._root / name)
            os.close(lock)
            raise

    async def fork(
        self, snapshot: Snapshot, source: Workspace | str, name: str, ignored: bool = False
    ) -> Workspace:
        """Return a fresh workspace with the changes of another one, or of a checkpoint, over `snapshot`.

        The layers of the snapshot are shared; what was changed is copied, at a cost of what was changed.
        With `ignored` the ignored files of a workspace come along too.

        Raises:
            ConflictError: a living process holds a workspace of that name.
            PatchError: the workspace holds what no checkpoint can.
        """
        digest = source if isinstance(source, str) else await source.checkpoint(ignored)
        workspace = self.create(snapshot, name)
        try:
            await workspace.restore(digest)
        except BaseException:
            workspace.close()
            raise
        return workspace

    def _make(self, snapshot: Snapshot, root: Path, lock: int) -> LayeredWorkspace:
        _remove(root)
        root.mkdir(mode=0o711)
        bounded = self._volumes is not None and self._mount(self._volumes, root)
        workspace = self._over(snapshot, root, lock)
        workspace.bounded = bounded
        return workspace

    def _mount(self, volumes: Volumes, root: Path) -> bool:
        try:
            volumes.mount(root)
        except OSError:
            # No loop device is left, or another mount stands in the way: measuring bounds it too.
            return False
        root.chmod(0o711)
        return True

    def _over(self, snapshot: Snapshot, root: Path, lock: int) -> LayeredWorkspace:
        take_directory(root / "upper", snapshot.owner)
        if self._backend.overlay:
            take_directory(root / "work", snapshot.owner)
            return OverlayWorkspace(root, snapshot, self._blobs, lock)
        return CopiedWorkspace(root, snapshot, self._blobs, lock)

    def sweep(self) -> list[str]:
        """Remove the workspaces that no living process holds, and return their names."""
        return sweep(self._root)


def sweep(root: Path) -> list[str]:
    """Remove the workspaces beneath `root` that no living process holds, and return their names."""
    if not root.is_dir():
        return []
    removed: list[str] = []
    names = {path.name.removesuffix(_VOLUME) for path in root.iterdir() if path.suffix != _LOCK}
    for name in sorted(names):
        lock = _hold(root, name)
        if lock is not None:
            _remove(root / name)
            (root / f"{name}{_LOCK}").unlink(missing_ok=True)
            os.close(lock)
            removed.append(name)
    return removed


def _remove(root: Path) -> None:
    """Remove a workspace's folder, and the volume that it may be."""
    let_go(root)
    remove_tree(root)


def _hold(root: Path, name: str) -> int | None:
    """Lock a name for this process's life; None where another one holds it."""
    path = root / f"{name}{_LOCK}"
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            root.mkdir(mode=0o711, parents=True, exist_ok=True)
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        # A sweep may have unlinked the file between the two calls; then the lock is worth nothing.
        try:
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)
