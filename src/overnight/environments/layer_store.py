"""Built, read-only layers on disk: each is built once, shared by processes, and evicted when long unused."""

import asyncio
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import DiskFullError
from overnight.domain.process import process_started
from overnight.environments import seal as seals
from overnight.environments.beneath import remove_tree
from overnight.environments.seal import Seal
from overnight.git.lock import locked

_NO_KIND = frozenset({"building", "locks", "unmounted"})


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a builder says of the layer that it made."""

    parents: tuple[str, ...] = ()
    """The layers (`kind-name`) without which this one is of no use; the builder holds them."""
    facts: Mapping[str, str] = {}


Build = Callable[[Path], Awaitable[Built | None]]


class Layer(msgspec.Struct, frozen=True):
    """A finished layer. `reused` says that it was there before."""

    path: Path
    reused: bool
    seal: Seal


class Evicted(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that was removed, or would be."""

    key: str
    bytes: int


class LayerState(msgspec.Struct, frozen=True, kw_only=True):
    """How a finished layer stands."""

    key: str
    """`kind-name`."""
    bytes: int
    unused_seconds: float
    """How long ago it was used last."""
    pinned: bool
    """Whether a living process holds it, so that it is not evicted."""


class LayerStore:
    """Layers by kind and name beneath one directory.

    A layer is built in a folder of its own, brought to the disk, sealed and renamed into place, so neither a
    process that dies nor a full disk or a power loss leaves one in half. Whoever got a layer holds a shared
    lock on it and on the layers beneath it until `close`, so nobody evicts them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: dict[str, int] = {}

    async def get(self, kind: str, name: str, build: Build) -> Layer:
        """Return the layer, calling `build` with an empty folder if it is not there, or not whole.

        Raises:
            DiskFullError: there is no room for it; nothing of it is left.
        """
        key = f"{kind}-{name}"
        self._hold(key)
        found = self.find(kind, name)
        if found is not None:
            return found
        lock = self._lock_path(f"{key}.build")
        async with locked(lock):
            lock.write_text(f"{os.getpid()} {process_started(os.getpid())}\n")
            found = self.find(kind, name)
            if found is None:
                self._discard(key, self._root / kind / name)
                seal = await self._build(self._root / kind / name, f"{key}.", build)
                found = Layer(self._root / kind / name, reused=False, seal=seal)
        return found

    def find(self, kind: str, name: str) -> Layer | None:
        """Return the layer if it is there and whole, and hold it; None otherwise."""
        key, path = f"{kind}-{name}", self._root / kind / name
        held = key in self._held
        self._hold(key)
        seal = seals.read_seal(path)
        whole = seal is not None and (seals.fits(path, seal) or self._renewed(path))
        if whole and seal is not None and all(self._hold_parent(parent) for parent in seal.parents):
            os.utime(path)
            return Layer(path, reused=True, seal=seal)
        if not held:
            self._release(key)
        return None

    def verify(self) -> dict[str, str]:
        """Read every file of every layer; return what is wrong by `kind-name`, and evict those that are."""
        damaged: dict[str, str] = {}
        for key, path in list(self.layers()):
            problem = seals.verify(path)
            if problem:
                damaged[key] = problem
                self._evict(key, path)
        return damaged

    def seals(self, kind: str, prefix: str) -> list[tuple[str, Seal]]:
        """Return (name, seal) of the layers of a kind whose names begin so, the last used first."""
        folder = self._root / kind
        if not folder.is_dir():
            return []
        paths = [path for path in folder.iterdir() if path.name.startswith(prefix)]
        paths.sort(key=_last_used, reverse=True)
        return [(path.name, seal) for path in paths if (seal := seals.read_seal(path)) is not None]

    def prune(
        self,
        max_bytes: int,
        in_use: Collection[str] = (),
        max_age: float | None = None,
        now: float | None = None,
    ) -> int:
        """Remove layers as `evict` does, and return the bytes that were freed."""
        return sum(layer.bytes for layer in self.evict(max_bytes, in_use, max_age, now))

    def evict(
        self,
        max_bytes: int | None,
        in_use: Collection[str] = (),
        max_age: float | None = None,
        now: float | None = None,
        dry_run: bool = False,
    ) -> list[Evicted]:
        """Remove layers unused for `max_age` seconds, then those unused for longest until the rest fits.

        `in_use` names layers (`kind-name`) of this process that stay; those that another process holds stay
        in any case, and so do those beneath one that stays. With `dry_run` nothing is removed.
        """
        oldest = None if max_age is None else (time.time() if now is None else now) - max_age
        layers = sorted(self.layers(), key=lambda layer: _last_used(layer[1]))
        known = {key: seals.read_seal(path) for key, path in layers}
        sizes = {key: 0 if seal is None else seal.bytes for key, seal in known.items()}
        needs = {key: () if seal is None else seal.parents for key, seal in known.items()}
        total, freed = sum(sizes.values()), 0
        gone: list[Evicted] = []
        progress = True
        while progress:
            # Once more after each round: a layer may go when the last one above it is gone.
            progress = False
            beneath = {parent for parents in needs.values() for parent in parents}
            for key, path in layers:
                large = max_bytes is not None and total - freed > max_bytes
                wanted = large or (oldest is not None and _last_used(path) < oldest)
                if key not in needs or key in in_use or key in beneath or not wanted:
                    continue
                if self._is_free(key) if dry_run else self._evict(key, path):
                    gone.append(Evicted(key=key, bytes=sizes[key]))
                    del needs[key]
                    freed += sizes[key]
                    progress = True
        if not dry_run:
            self._remove_abandoned()
        return gone

    def remove(self, key: str) -> bool:
        """Remove one layer (`kind-name`); False where another process holds it."""
        kind, _, name = key.partition("-")
        path = self._root / kind / name
        return not path.exists() or self._evict(key, path)

    def state(self, key: str, now: float | None = None) -> LayerState | None:
        """Return how a layer (`kind-name`) stands, without holding it; None where there is none."""
        kind, _, name = key.partition("-")
        path = self._root / kind / name
        seal = seals.read_seal(path)
        if seal is None:
            return None
        age = max(0.0, (time.time() if now is None else now) - _last_used(path))
        return LayerState(key=key, bytes=seal.bytes, unused_seconds=age, pinned=not self._is_free(key))

    def disk_bytes(self) -> int:
        """Return how much all the layers take."""
        return sum(seal.bytes for _, path in self.layers() if (seal := seals.read_seal(path)) is not None)

    def layers(self) -> Iterator[tuple[str, Path]]:
        """Yield (`kind-name`, folder) of every layer."""
        for kind in self._root.glob("*"):
            if kind.name not in _NO_KIND and kind.is_dir():
                for path in kind.iterdir():
                    yield f"{kind.name}-{path.name}", path

    def close(self) -> None:
        """Stop holding layers."""
        for key in list(self._held):
            self._release(key)

    # --- building -----------------------------------------------------------------------------

    async def _build(self, path: Path, prefix: str, build: Build) -> Seal:
        building = self._root / "building"
        temporary: Path | None = None
        try:
            for directory in (building, path.parent):
                directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            for abandoned in building.glob(f"{prefix}*"):
                remove_tree(abandoned)
            temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=building))
            temporary.chmod(0o711)
            built = await build(temporary) or Built()
            seal = await asyncio.to_thread(seals.write_seal, temporary, built.parents, built.facts)
            temporary.rename(path)
            seals.sync_folder(path.parent)
        except BaseException as error:
            if temporary is not None:
                remove_tree(temporary)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(
                    f"The disk is full: the snapshot in {self._root} could not be built.",
                    "Free some space, for example with `overnight prune`, and start the task again.",
                ) from None
            raise
        return seal

    def _renewed(self, path: Path) -> bool:
        """Say whether a layer that lies in another folder than it was sealed in is whole; seal it anew."""
        if seals.verify(path):
            return False
        seals.reseal(path)
        return True

    def _discard(self, key: str, path: Path) -> None:
        """Move what is not whole out of the way. Whoever still reads it keeps what is open."""
        if path.exists():
            trash = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._ensured(self._root / "building")))
            path.rename(trash / "layer")
            remove_tree(trash)

    # --- eviction -----------------------------------------------------------------------------

    def _evict(self, key: str, path: Path) -> bool:
        self._release(key)
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

    def _is_free(self, key: str) -> bool:
        """Say whether no process holds a layer, this one included."""
        handle = os.open(self._lock_path(key), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
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

    # --- holding ------------------------------------------------------------------------------

    def _hold_parent(self, key: str) -> bool:
        """Hold a layer that another one stands on; say whether it is there."""
        kind, _, name = key.partition("-")
        path = self._root / kind / name
        self._hold(key)
        seal = seals.read_seal(path)
        if seal is None or not (seals.fits(path, seal) or self._renewed(path)):
            return False
        os.utime(path)
        return True

    def _hold(self, key: str) -> None:
        if key in self._held:
            return
        handle = os.open(self._lock_path(key), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Waits no longer than the rename of an eviction takes.
        fcntl.flock(handle, fcntl.LOCK_SH)
        self._held[key] = handle

    def _release(self, key: str) -> None:
        handle = self._held.pop(key, None)
        if handle is not None:
            os.close(handle)

    def _lock_path(self, key: str) -> Path:
        return self._ensured(self._root / "locks") / key

    def _ensured(self, directory: Path) -> Path:
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        return directory


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
