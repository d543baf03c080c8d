"""Builds, finds and evicts snapshots: a checkout per commit, a setup per recipe and lock files."""

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.errors import ConflictError
from overnight.domain.events import PhaseChanged
from overnight.domain.limits import Limits
from overnight.domain.ports import EventSink, LentSecrets
from overnight.environments.checkouts import Checkout, Checkouts
from overnight.environments.client_settings import ClientSettings
from overnight.environments.layer_store import Built, Layer, LayerState, LayerStore
from overnight.environments.setup import Setup
from overnight.environments.snapshot import Snapshot
from overnight.environments.unmounted import point, unmounted, with_source_path
from overnight.environments.warm import WARM_FILES, Warmer
from overnight.git.mirror import Mirror
from overnight.git.objects import GITLINK, list_tree, read_objects, tree_of
from overnight.sandbox.interface import SandboxBackend

_FORMAT = "2"
"""Part of every key: raise it when a layer built by an older version must not be used any more."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What one snapshot is to be made of."""

    mirror: Mirror
    recipe: Recipe
    events: EventSink
    limits: Limits
    settings: ClientSettings
    secrets: LentSecrets | None
    """Lent to setup and to maintenance, which must leave no value behind."""
    secret_versions: tuple[str, ...]


class Snapshots:
    """The snapshots beneath one directory. Several processes may share it.

    `machine` names what setups depend on besides the recipe (such as the interpreter's version): another
    value means another setup layer. Repositories of `warm_files` files and more get a warm index.
    """

    def __init__(
        self, root: Path, backend: SandboxBackend, machine: str = "", warm_files: int = WARM_FILES
    ) -> None:
        self._root = root
        self._backend = backend
        self._machine = machine
        self._warm_files = warm_files
        self._layers = LayerStore(root)
        self._checkouts = Checkouts(root, self._layers, backend.owner, backend.overlay)

    async def prepare(
        self,
        mirror: Mirror,
        commit: str,
        recipe: Recipe,
        events: EventSink,
        limits: Limits | None = None,
        settings: ClientSettings | None = None,
        secrets: LentSecrets | None = None,
        secret_versions: tuple[str, ...] = (),
    ) -> Snapshot:
        """Return the snapshot of `recipe` at `commit`, building what is missing.

        `secrets` are lent to setup's commands; another version of one means another setup.
        `secret_versions` are those of secrets that are not lent here, but decide all the same.

        Raises:
            SetupError: a setup command failed.
            GitError: the commit cannot be checked out.
            SandboxUnavailableError: setup is needed and the sandbox cannot start.
            DiskFullError: there is no room for it.
            UsageError: the sandbox has images, and the recipe's cannot be used.
        """
        recipe = await self._pinned(recipe)
        checkout = await self._checkouts.get(mirror, commit, events)
        setup: Layer | None = None
        setup_key = ""
        if recipe.setup:
            ask = Ask(
                mirror=mirror, recipe=recipe, events=events, limits=limits or Limits(),
                settings=settings or ClientSettings(), secrets=secrets,
                secret_versions=(*secret_versions, *(secrets.versions if secrets is not None else ())),
            )  # fmt: skip
            setup, setup_key, recipe = await self._set_up(ask, checkout)
        reused = checkout.reused and (setup is None or setup.reused)
        if reused:
            events.emit(PhaseChanged(phase="preparing", detail="reusing snapshot"))
        layer = setup.path / "layer" if setup is not None else None
        installed = (layer,) if layer is not None and _has_entries(layer) else ()
        warm = await self._warm(mirror, checkout, setup_key if installed else "", installed)
        keys = (checkout.keys[0], *([setup_key] if setup_key else []))
        return Snapshot(
            key="+".join(keys),
            keys=(*keys, *([warm[0]] if warm else [])),
            commit=commit,
            tree=checkout.tree,
            recipe=recipe,
            checkout=checkout.layers,
            installed=installed,
            warm=warm[1] if warm else None,
            dependencies=setup.path / "dependencies" if setup is not None else None,
            listing=checkout.listing,
            objects=mirror.path / "objects",
            owner=self._backend.owner,
            reused=reused,
        )

    async def states(
        self, mirror: Mirror, commit: str, recipe: Recipe, secrets: Sequence[tuple[str, ...]] = ((),)
    ) -> tuple[LayerState, ...]:
        """Return the layers that are there for `recipe` at `commit`, with any of the `secrets` that setup
        may have had; nothing is built or held.
        """
        recipe = await self._pinned(recipe)
        keys = [self._checkouts.key(mirror, commit), *await self._setup_keys(mirror, commit, recipe, secrets)]
        return tuple(state for key in keys if (state := self._layers.state(key)) is not None)

    async def forget(
        self, mirror: Mirror, commit: str, recipe: Recipe, secrets: Sequence[tuple[str, ...]] = ((),)
    ) -> None:
        """Remove what setup made for `recipe` at `commit`, with any of the `secrets`: it is made anew.

        Raises:
            ConflictError: a living process works over it.
        """
        for key in await self._setup_keys(mirror, commit, await self._pinned(recipe), secrets):
            if not self._layers.remove(key):
                raise ConflictError(
                    "The snapshot is in use by another process",
                    "Wait for its attempts to end, or build without --no-cache.",
                )

    async def _pinned(self, recipe: Recipe) -> Recipe:
        """Name the recipe's image by its id; by nothing where the sandbox has no images."""
        base = await self._backend.pin(recipe.base) if recipe.base else ""
        return msgspec.structs.replace(recipe, base=base)

    async def _setup_keys(
        self, mirror: Mirror, commit: str, recipe: Recipe, secrets: Sequence[tuple[str, ...]]
    ) -> list[str]:
        """Return the keys of the setup layers, and of the maintained ones over them."""
        if not recipe.setup:
            return []
        contents = await _contents(mirror, commit, recipe.lock_files)
        tree = await tree_of(mirror, commit)
        names = [self._setup_key(mirror, recipe, lent, contents.get) for lent in secrets]
        pairs = [(f"setups-{name}", f"maintained-{_maintained(name, tree, recipe)}") for name in names]
        return [key for pair in pairs for key in pair]

    def prune(self, max_bytes: int, in_use: Collection[Snapshot] = (), max_age: float | None = None) -> int:
        """Evict what was unused for `max_age` seconds, then what was unused for longest until the rest fits.

        Returns the bytes that were freed. `in_use` are snapshots of this process; those of other living
        processes always stay.
        """
        return self._layers.prune(max_bytes, {key for snapshot in in_use for key in snapshot.keys}, max_age)

    def verify(self) -> dict[str, str]:
        """Read all snapshots in full; return what is wrong, by layer. What is wrong is evicted."""
        return self._layers.verify()

    def disk_bytes(self) -> int:
        """Return how much disk all snapshots take."""
        return self._layers.disk_bytes()

    def close(self) -> None:
        """Let other processes evict what this one used."""
        self._layers.close()

    # --- setup --------------------------------------------------------------------------------

    async def _set_up(self, ask: Ask, checkout: Checkout) -> tuple[Layer, str, Recipe]:
        """Return the setup layer, its key, and the recipe as workspaces over it use it."""
        given = ask.recipe
        name = self._setup_key(ask.mirror, ask.recipe, ask.secret_versions, checkout.read)
        link = self._root / "unmounted" / name
        mounted = self._backend.name != "none"
        if not mounted:
            ask = msgspec.structs.replace(ask, recipe=unmounted(ask.recipe, link))
        layer, key = await self._run(ask, checkout, "setups", name, link), f"setups-{name}"
        made_at = layer.seal.facts.get("tree", "")
        if ask.recipe.maintenance and made_at != checkout.tree:
            kept = _maintained(name, checkout.tree, given)
            layer = await self._run(ask, checkout, "maintained", kept, link, layer.path)
            key = f"maintained-{kept}"
        if mounted:
            return layer, key, ask.recipe
        point(link, layer.path / "dependencies")
        return layer, key, with_source_path(ask.recipe)

    async def _run(
        self, ask: Ask, checkout: Checkout, kind: str, name: str, link: Path, seed: Path | None = None
    ) -> Layer:
        async def build(folder: Path) -> Built:
            if self._backend.name == "none":
                point(link, folder / "dependencies")
            setup = Setup(
                folder=folder,
                checkout=checkout,
                seed=seed,
                objects=ask.mirror.path / "objects",
                recipe=ask.recipe,
                owner=self._backend.owner,
                limits=ask.limits,
                settings=ask.settings,
                secrets=ask.secrets,
            )
            await setup.run(self._backend, ask.events)
            return Built(facts={"tree": checkout.tree})

        return await self._layers.get(kind, name, build)

    def _setup_key(
        self,
        mirror: Mirror,
        recipe: Recipe,
        secrets: tuple[str, ...],
        read: Callable[[str], bytes | None],
    ) -> str:
        """Digest whatever the result of setup depends on: how it runs, and the lock files' contents.

        The repository is part of it: setup runs the repository's own code, so a hostile one with the same
        lock files would else decide what is installed for another.
        """
        backend = (self._backend.name, self._backend.overlay, self._backend.owner)
        how = (_FORMAT, self._machine, backend, recipe.setup, sorted(recipe.variables.items()), recipe.path)
        if recipe.base:
            how = (*how, recipe.base)
        digest = hashlib.sha256(
            msgspec.json.encode((how, mirror.origin.key, recipe.tools, recipe.setup_network, sorted(secrets)))
        )
        for path in sorted(recipe.lock_files):
            digest.update(msgspec.msgpack.encode((path, read(path))))
        return digest.hexdigest()[:40]

    async def _warm(
        self, mirror: Mirror, checkout: Checkout, setup: str, installed: tuple[Path, ...]
    ) -> tuple[str, Path] | None:
        if not self._backend.overlay or self._backend.name == "none":
            return None
        if checkout.listing.read_bytes().count(b"\0") < self._warm_files:
            return None
        warmer = Warmer(
            root=self._root, store=self._layers, backend=self._backend, objects=mirror.path / "objects"
        )
        return await warmer.get(checkout, setup, installed)


def _maintained(name: str, tree: str, recipe: Recipe) -> str:
    return hashlib.sha256(msgspec.json.encode((name, tree, recipe.maintenance))).hexdigest()[:40]


async def _contents(mirror: Mirror, commit: str, paths: Collection[str]) -> dict[str, bytes]:
    """Return the contents of those of the paths that the commit has, as a checkout would have them."""
    entries = [entry for entry in await list_tree(mirror, commit) if entry.path in paths]
    entries = [entry for entry in entries if entry.mode != GITLINK]
    contents = await read_objects(mirror, [entry.oid for entry in entries])
    pairs = zip(entries, contents, strict=True)
    return {entry.path: content for entry, content in pairs if content is not None}


def _has_entries(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is not None
