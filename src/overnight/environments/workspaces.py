"""Makes workspaces over snapshots, knows those on disk, and removes those that a killed process left."""

import fcntl
import os
import re
from pathlib import Path

from overnight.blobs.store import BlobStore
from overnight.domain.errors import ConflictError, UsageError
from overnight.environments.beneath import make_directory, remove_tree
from overnight.environments.copied import CopiedWorkspace
from overnight.environments.interface import Workspace
from overnight.environments.overlay import OverlayWorkspace
from overnight.environments.snapshot import Snapshot
from overnight.sandbox.interface import SandboxBackend

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Workspaces:
    """The workspaces beneath one directory. Several processes may share it."""

    def __init__(self, root: Path, backend: SandboxBackend, blobs: BlobStore) -> None:
        self._root = root
        self._backend = backend
        self._blobs = blobs

    def create(self, snapshot: Snapshot, name: str) -> Workspace:
        """Return a fresh workspace; what a killed process left under the same name is removed first.

        Raises:
            ConflictError: a living process holds a workspace of that name.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"Not a name for a workspace: {name!r}")
        lock = _hold(self._root, name)
        if lock is None:
            raise ConflictError(f"Workspace {name!r} is in use by another process")
        try:
            return self._make(snapshot, self._root / name, lock)
        except BaseException:
            os.close(lock)
            raise

    def _make(self, snapshot: Snapshot, root: Path, lock: int) -> Workspace:
        remove_tree(root)
        root.mkdir(mode=0o711)
        make_directory(root / "upper", snapshot.owner)
        if self._backend.overlay:
            make_directory(root / "work", snapshot.owner)
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
    for path in sorted(root.iterdir()):
        lock = _hold(root, path.name) if path.suffix != ".lock" else None
        if lock is not None:
            remove_tree(path)
            (root / f"{path.name}.lock").unlink(missing_ok=True)
            os.close(lock)
            removed.append(path.name)
    return removed


def _hold(root: Path, name: str) -> int | None:
    """Lock a name for this process's life; None where another one holds it."""
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    path = root / f"{name}.lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
