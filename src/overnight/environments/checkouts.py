"""A commit's checkout as read-only layers: derived from a near one where there is one, else written whole."""

import asyncio
from pathlib import Path

import msgspec

from overnight.domain.errors import GitError, PatchError
from overnight.domain.events import PhaseChanged
from overnight.domain.ports import EventSink
from overnight.environments import layers as merged
from overnight.environments.beneath import Owner, chown_tree, remove_tree, split_path
from overnight.environments.delta import Delta
from overnight.environments.layer_store import Built, Layer, LayerStore
from overnight.git.advance import Entry, advance_index, changed_entries, count_changes
from overnight.git.checkout import commit_time, materialize, packed_refs
from overnight.git.mirror import Mirror
from overnight.git.objects import GITLINK, list_tree, read_objects, tree_of

KIND = "checkouts"
MAX_DELTAS = 8
"""So many deltas lie over a whole checkout at most; the next commit is written whole again."""
CANDIDATES = 4
"""So many of the last used checkouts of a repository are compared to find the nearest."""
MAX_CHANGES = 5_000
"""A commit that differs in more paths is written whole."""


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """A commit's files: `layers` top first, and the paths in `listing`, each ended by a NUL."""

    commit: str
    tree: str
    layers: tuple[Path, ...]
    listing: Path
    keys: tuple[str, ...]
    """The layers (`kind-name`), top first."""
    reused: bool
    derived_from: str = ""
    """The commit whose checkout lies right beneath; empty for one that was written whole."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content (a link's target), or None where there is none."""
        return merged.read(self.layers, split_path(path))

    def paths(self) -> list[str]:
        """Return the paths of the commit's files, as git sorts them."""
        return _read_listing(self.listing)


class Checkouts:
    """The checkouts of one store, for files that belong to `owner`. `overlay` allows layers over layers."""

    def __init__(self, root: Path, store: LayerStore, owner: Owner, overlay: bool) -> None:
        self._root = root
        self._store = store
        self._owner = owner
        self._overlay = overlay

    async def get(self, mirror: Mirror, commit: str, events: EventSink) -> Checkout:
        """Return the checkout of `commit`, built if it is not there.

        Raises:
            GitError: the commit cannot be checked out.
            DiskFullError: there is no room for it.
        """
        name = self._name(mirror, commit)

        async def build(folder: Path) -> Built:
            near = await self._nearest(mirror, commit) if self._overlay else None
            if near is not None:
                events.emit(PhaseChanged(phase="preparing", detail=f"advancing to {commit[:12]}"))
                built = await self._derive(folder, mirror, commit, near)
                if built is not None:
                    return built
            events.emit(PhaseChanged(phase="preparing", detail=f"checking out {commit[:12]}"))
            return await self._whole(folder, mirror, commit)

        return self._over(await self._store.get(KIND, name, build), mirror, commit)

    def key(self, mirror: Mirror, commit: str) -> str:
        """Return the name (`kind-name`) of the layer that a commit's checkout is."""
        return f"{KIND}-{self._name(mirror, commit)}"

    def _over(self, layer: Layer, mirror: Mirror, commit: str) -> Checkout:
        """Return the checkout that a layer is, with those that it lies over."""
        keys = (self.key(mirror, commit), *layer.seal.parents)
        return Checkout(
            commit=commit,
            tree=layer.seal.facts["tree"],
            layers=tuple(self._path(key) / "tree" for key in keys),
            listing=layer.path / "listing",
            keys=keys,
            reused=layer.reused,
            derived_from=layer.seal.facts.get("from", ""),
        )

    def _name(self, mirror: Mirror, commit: str) -> str:
        return f"{self._prefix(mirror)}{commit}"

    def _prefix(self, mirror: Mirror) -> str:
        """Name repository and owner: a repository never builds on the layers of another one."""
        owner = "own" if self._owner is None else str(self._owner[0])
        return f"{mirror.origin.key}.{owner}."

    def _path(self, key: str) -> Path:
        return self._root / KIND / key.removeprefix(f"{KIND}-")

    async def _whole(self, folder: Path, mirror: Mirror, commit: str) -> Built:
        tree = folder / "tree"
        tree.mkdir()
        tree.chmod(0o755)
        await materialize(mirror, commit, tree)
        entries = await list_tree(mirror, commit, sizes=False)
        _write_listing(folder, [entry.path for entry in entries if entry.mode != GITLINK])
        await asyncio.to_thread(chown_tree, tree, self._owner)
        return Built(facts={"commit": commit, "tree": await tree_of(mirror, commit)})

    async def _nearest(self, mirror: Mirror, commit: str) -> Checkout | None:
        """Return the checkout with the fewest differences among the last used ones; None if all are far."""
        prefix = self._prefix(mirror)
        found: list[tuple[int, int, str]] = []
        for name, seal in self._store.seals(KIND, prefix)[:CANDIDATES]:
            other = name.removeprefix(prefix)
            if len(seal.parents) < MAX_DELTAS and other != commit and await mirror.has(other):
                changes = await count_changes(mirror, other, commit)
                found.append((changes, len(seal.parents), other))
        if not found:
            return None
        changes, _, nearest = min(found)
        layer = self._store.find(KIND, self._name(mirror, nearest))
        if layer is None or changes > MAX_CHANGES:
            return None
        return self._over(layer, mirror, nearest)

    async def _derive(self, folder: Path, mirror: Mirror, commit: str, near: Checkout) -> Built | None:
        """Write what differs as a layer of its own; None, with nothing left, where that cannot be done."""
        tree = folder / "tree"
        try:
            entries = await changed_entries(mirror, near.commit, commit)
            files = [entry for entry in entries if entry.mode and entry.mode != GITLINK]
            blobs = await read_objects(mirror, [entry.oid for entry in files])
            contents = {
                entry.path: blob for entry, blob in zip(files, blobs, strict=True) if blob is not None
            }
            if len(contents) < len(files):
                return None
            if not mirror.shallow() and merged.find(near.layers, (".git", "shallow")) is not None:
                return None
            when = await commit_time(mirror, commit)
            tree.mkdir()
            tree.chmod(0o755)
            await self._git_files(tree / ".git", mirror, commit, near, entries, contents, when)
            delta = Delta(tree, near.layers, self._owner)
            await asyncio.to_thread(delta.write, entries, contents, when)
            await asyncio.to_thread(chown_tree, tree, self._owner)
        except (GitError, PatchError, PermissionError):
            # A whole checkout either works or says better what is wrong.
            remove_tree(tree)
            return None
        gone = {entry.path for entry in entries if not entry.mode or entry.mode == GITLINK}
        paths = (set(_read_listing(near.listing)) - gone) | {entry.path for entry in files}
        _write_listing(folder, sorted(paths, key=_as_git_sorts))
        return Built(
            parents=near.keys,
            facts={"commit": commit, "tree": await tree_of(mirror, commit), "from": near.commit},
        )

    async def _git_files(
        self,
        git_dir: Path,
        mirror: Mirror,
        commit: str,
        near: Checkout,
        entries: list[Entry],
        contents: dict[str, bytes],
        when: int,
    ) -> None:
        git_dir.mkdir()
        found = merged.find(near.layers, (".git", "index"))
        if entries and found is not None:
            # First of all: here git refuses the paths that it would refuse in a whole checkout.
            sizes = {path: len(content) for path, content in contents.items()}
            index = near.layers[found.layer] / ".git/index"
            await advance_index(mirror, index, git_dir / "index", entries, sizes, when)
        (git_dir / "HEAD").write_text(f"{commit}\n")
        (git_dir / "packed-refs").write_bytes(await packed_refs(mirror, commit))
        if mirror.shallow():
            (git_dir / "shallow").write_bytes((mirror.path / "shallow").read_bytes())


def _write_listing(folder: Path, paths: list[str]) -> None:
    listing = "".join(f"{path}\0" for path in paths)
    (folder / "listing").write_text(listing, "utf-8", "surrogateescape")


def _read_listing(listing: Path) -> list[str]:
    return listing.read_text("utf-8", "surrogateescape").split("\0")[:-1]


def _as_git_sorts(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
