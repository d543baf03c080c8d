"""Built, read-only layers on disk: each is built once, shared by processes, and evicted when long unused."""

import fcntl
import os
import tempfile
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import msgspec

from overnight.environments.beneath import remove_tree
from overnight.git.lock import locked

Build = Callable[[Path], Awaitable[None]]


class Layer(msgspec.Struct, frozen=True):
    """A finished layer. `reused` says that it was there before."""

    path: Path
    reused: bool


class LayerStore:
    """Layers by kind and name beneath one directory.

    A layer is built in a folder of its own and renamed into place, so a process that dies leaves none in
    half. Whoever got a layer holds a shared lock on it until `close`, so no other process evicts it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: dict[str, int] = {}

    async def get(self, kind: str, name: str, build: Build) -> Layer:
        """Return the layer, calling `build` with an empty folder if it is not there yet."""
        path = self._root / kind / name
        self._hold(f"{kind}-{name}")
        if path.is_dir():
            os.utime(path)
            return Layer(path, reused=True)
        async with locked(self._lock_path(f"{kind}-{name}.build")):
            if path.is_dir():
                return Layer(path, reused=True)
            await self._build(path, f"{kind}-{name}.", build)
        return Layer(path, reused=False)

    async def _build(self, path: Path, prefix: str, build: Build) -> None:
        building = self._root / "building"
        for directory in (building, path.parent):
            directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        for abandoned in building.glob(f"{prefix}*"):
            remove_tree(abandoned)
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=building))
        try:
            temporary.chmod(0o711)
            await build(temporary)
            (temporary / "bytes").write_text(str(_disk_bytes(temporary)))
            temporary.rename(path)
        except BaseException:
            remove_tree(temporary)
            raise

    def prune(self, max_bytes: int, in_use: Collection[str] = ()) -> int:
        """Remove the layers unused for longest until the rest fits; return the bytes that were freed.

        `in_use` names layers (`kind-name`) of this process that stay; those that another process holds
        stay in any case.
        """
        layers = sorted(self._layers(), key=lambda layer: layer[1].stat().st_mtime)
        sizes = {path: _recorded_bytes(path) for _, path in layers}
        total, freed = sum(sizes.values()), 0
        for key, path in layers:
            if total - freed <= max_bytes:
                break
            if key not in in_use and self._evict(key, path):
                freed += sizes[path]
        self._remove_abandoned()
        return freed

    def disk_bytes(self) -> int:
        """Return how much all the layers take."""
        return sum(_recorded_bytes(path) for _, path in self._layers())

    def close(self) -> None:
        """Stop holding layers."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _layers(self) -> list[tuple[str, Path]]:
        kinds = [path for path in self._root.glob("*") if path.name not in ("building", "locks", "unmounted")]
        return [(f"{kind.name}-{path.name}", path) for kind in kinds for path in kind.iterdir()]

    def _evict(self, key: str, path: Path) -> bool:
        mine = self._held.pop(key, None)
        if mine is not None:
            os.close(mine)
        handle = os.open(self._lock_path(key), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            trash = Path(tempfile.mkdtemp(prefix="evicted.", dir=self._ensured(self._root / "building")))
            path.rename(trash / "layer")
        except (BlockingIOError, FileNotFoundError):
            return False
        finally:
            os.close(handle)
        remove_tree(trash)
        return True

    def _remove_abandoned(self) -> None:
        """Remove what killed builders left: their lock is free."""
        for path in (self._root / "building").glob("*.*"):
            key = path.name.rsplit(".", 1)[0]
            lock = self._lock_path("evicting" if key == "evicted" else f"{key}.build")
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
            except BlockingIOError:
                pass
            finally:
                os.close(handle)

    def _hold(self, key: str) -> None:
        if key in self._held:
            return
        handle = os.open(self._lock_path(key), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Waits no longer than the rename of an eviction takes.
        fcntl.flock(handle, fcntl.LOCK_SH)
        self._held[key] = handle

    def _lock_path(self, key: str) -> Path:
        return self._ensured(self._root / "locks") / key

    def _ensured(self, directory: Path) -> Path:
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        return directory


def _disk_bytes(root: Path) -> int:
    total = 0
    for _, directories, files, handle in os.fwalk(root, follow_symlinks=False):
        for name in directories + files:
            total += os.stat(name, dir_fd=handle, follow_symlinks=False).st_blocks * 512
    return total


def _recorded_bytes(path: Path) -> int:
    try:
        return int((path / "bytes").read_text())
    except (OSError, ValueError):
        return 0
