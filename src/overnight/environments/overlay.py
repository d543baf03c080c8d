"""A workspace as an overlay: made in constant time, and its upper directory is the change."""

from pathlib import Path

from overnight.blobs.store import BlobStore
from overnight.environments.layered import LayeredWorkspace
from overnight.environments.snapshot import Snapshot


class OverlayWorkspace(LayeredWorkspace):
    """An empty upper directory over the layers of a snapshot; the sandbox merges them."""

    def __init__(self, root: Path, snapshot: Snapshot, blobs: BlobStore, lock: int = -1) -> None:
        super().__init__(root, snapshot, blobs, snapshot.layers, lock)
