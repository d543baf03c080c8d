"""Builds, finds and evicts snapshots: a checkout per commit, a setup per recipe and lock files."""

import hashlib
import os
import stat
from collections.abc import Collection
from pathlib import Path

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.events import PhaseChanged
from overnight.domain.ports import EventSink, LentSecrets
from overnight.domain.task import Limits
from overnight.environments.beneath import chown_tree, directory_at, read_at, split_path, stat_at
from overnight.environments.client_settings import ClientSettings
from overnight.environments.layer_store import Layer, LayerStore
from overnight.environments.setup import Setup
from overnight.environments.snapshot import Snapshot
from overnight.environments.unmounted import point, unmounted, with_source_path
from overnight.git.checkout import materialize
from overnight.git.mirror import Mirror
from overnight.git.objects import GITLINK, list_tree
from overnight.sandbox.interface import SandboxBackend

_FORMAT = "1"
"""Part of every key: raise it when a layer built by an older version must not be used any more."""


class Snapshots:
    """The snapshots beneath one directory. Several processes may share it.

    `machine` names what setups depend on besides the recipe (such as the interpreter's version): another
    value means another setup layer.
    """

    def __init__(self, root: Path, backend: SandboxBackend, machine: str = "") -> None:
        self._root = root
        self._backend = backend
        self._machine = machine
        self._layers = LayerStore(root)

    async def prepare(
        self,
        mirror: Mirror,
        commit: str,
        recipe: Recipe,
        events: EventSink,
        limits: Limits | None = None,
        settings: ClientSettings | None = None,
        secrets: LentSecrets | None = None,
    ) -> Snapshot:
        """Return the snapshot of `recipe` at `commit`, building what is missing.

        `secrets` are lent to setup's commands; their versions are part of what names the result.

        Raises:
            SetupError: a setup command failed.
            GitError: the commit cannot be checked out.
            SandboxUnavailableError: setup is needed and the sandbox cannot start.
        """
        owner = self._backend.owner
        name = commit if owner is None else f"{commit}-{owner[0]}"
        checkout = await self._checkout(mirror, commit, name, events)
        setup, key = None, f"checkouts-{name}"
        if recipe.setup:
            tree = checkout.path / "tree"
            name = self._setup_key(mirror, tree, recipe, secrets.versions if secrets is not None else ())
            link = self._root / "unmounted" / name
            if self._backend.name == "none":
                recipe = unmounted(recipe, link)
            setup = await self._setup(mirror, tree, name, recipe, events, limits, settings, secrets)
            key = f"{key}+setups-{name}"
            if self._backend.name == "none":
                point(link, setup.path / "dependencies")
                recipe = with_source_path(recipe)
        reused = checkout.reused and (setup is None or setup.reused)
        if reused:
            events.emit(PhaseChanged(phase="preparing", detail="reusing snapshot"))
        installed = setup.path / "layer" if setup is not None else None
        return Snapshot(
            key=key,
            commit=commit,
            recipe=recipe,
            checkout=checkout.path / "tree",
            installed=installed if installed is not None and _has_entries(installed) else None,
            dependencies=setup.path / "dependencies" if setup is not None else None,
            listing=checkout.path / "listing",
            objects=mirror.path / "objects",
            owner=owner,
            reused=reused,
        )

    def prune(self, max_bytes: int, in_use: Collection[str] = ()) -> int:
        """Evict what was unused for longest until the rest fits in `max_bytes`; return the bytes freed.

        `in_use` are keys of snapshots of this process; those of other living processes always stay.
        """
        return self._layers.prune(max_bytes, {part for key in in_use for part in key.split("+")})

    def disk_bytes(self) -> int:
        """Return how much disk all snapshots take."""
        return self._layers.disk_bytes()

    def close(self) -> None:
        """Let other processes evict what this one used."""
        self._layers.close()

    async def _checkout(self, mirror: Mirror, commit: str, name: str, events: EventSink) -> Layer:
        async def build(folder: Path) -> None:
            events.emit(PhaseChanged(phase="preparing", detail=f"checking out {commit[:12]}"))
            tree = folder / "tree"
            tree.mkdir()
            tree.chmod(0o755)
            await materialize(mirror, commit, tree)
            entries = await list_tree(mirror, commit, sizes=False)
            listing = "".join(f"{entry.path}\0" for entry in entries if entry.mode != GITLINK)
            (folder / "listing").write_text(listing, "utf-8", "surrogateescape")
            chown_tree(tree, self._backend.owner)

        return await self._layers.get("checkouts", name, build)

    async def _setup(
        self,
        mirror: Mirror,
        checkout: Path,
        name: str,
        recipe: Recipe,
        events: EventSink,
        limits: Limits | None,
        settings: ClientSettings | None,
        secrets: LentSecrets | None,
    ) -> Layer:
        async def build(folder: Path) -> None:
            if self._backend.name == "none":
                point(self._root / "unmounted" / name, folder / "dependencies")
            setup = Setup(
                folder=folder,
                checkout=checkout,
                objects=mirror.path / "objects",
                recipe=recipe,
                owner=self._backend.owner,
                limits=limits or Limits(),
                settings=settings or ClientSettings(),
                secrets=secrets,
            )
            await setup.run(self._backend, events)

        return await self._layers.get("setups", name, build)

    def _setup_key(
        self, mirror: Mirror, checkout: Path, recipe: Recipe, secret_versions: tuple[str, ...]
    ) -> str:
        """Digest whatever the result of setup depends on: how it runs, and the lock files' contents.

        The repository is part of it: setup runs the repository's own code, so a hostile one with the same
        lock files would else decide what is installed for another.
        """
        backend = (self._backend.name, self._backend.overlay, self._backend.owner)
        how = (_FORMAT, self._machine, backend, recipe.setup, sorted(recipe.variables.items()), recipe.path)
        digest = hashlib.sha256(
            msgspec.json.encode((how, mirror.origin.key, recipe.tools, recipe.setup_network))
        )
        if secret_versions:
            digest.update(msgspec.msgpack.encode(("secrets", secret_versions)))
        for path in sorted(recipe.lock_files):
            parts = split_path(path)
            content = None
            with directory_at(checkout, parts[:-1]) as directory:
                state = stat_at(directory, parts[-1]) if directory is not None else None
                if directory is not None and state is not None and not stat.S_ISDIR(state.st_mode):
                    content = read_at(directory, parts[-1])
            digest.update(msgspec.msgpack.encode((path, content)))
        return digest.hexdigest()[:40]


def _has_entries(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is not None
