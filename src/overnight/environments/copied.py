"""A workspace as a copy of the snapshot: for machines whose sandbox cannot mount overlays."""

from pathlib import Path

from overnight.blobs.store import BlobStore
from overnight.environments.beneath import chown_tree, empty_tree
from overnight.environments.copying import copy_tree
from overnight.environments.layered import LayeredWorkspace
from overnight.environments.snapshot import Snapshot


class CopiedWorkspace(LayeredWorkspace):
    """A full copy of the layers of a snapshot. Making it and asking for changes takes O(files)."""

    def __init__(self, root: Path, snapshot: Snapshot, blobs: BlobStore, lock: int = -1) -> None:
        super().__init__(root, snapshot, blobs, (), lock)
        self._copy()

    def _reset(self) -> None:
        empty_tree(self._upper)
        self._copy()

    def _copy(self) -> None:
        for layer in reversed((*self._snapshot.checkout, *self._snapshot.installed)):
            copy_tree(layer, self._upper)
        chown_tree(self._upper, self._snapshot.owner)
