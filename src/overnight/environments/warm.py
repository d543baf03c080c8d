"""A layer with a warm index: from it git answers `status` by looking at the upper layer, not at every file.

Two caches of git's own make that (git-update-index(1)): the untracked cache, and the file system monitor,
whose part `inside/changed.py` plays. Both are filled by git itself, in a sandbox, over the very layers that
workspaces will have, before any of the repository's code ran there.
"""

import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from overnight.domain.errors import OvernightError, PatchError
from overnight.environments import layers as merged
from overnight.environments.beneath import make_directory, remove_tree
from overnight.environments.checkouts import Checkout
from overnight.environments.layer_store import Built, LayerStore
from overnight.environments.snapshot import CHANGED_PROGRAM, CHANGED_SOURCE, SANDBOX_UPPER
from overnight.git.checkout import CONFIG, SANDBOX_OBJECTS
from overnight.sandbox.interface import Bind, Command, SandboxBackend, SandboxSpec

KIND = "warm"
WARM_FILES = 2_000
"""From so many files on a warm index is worth its making: below, git looks at all in a few milliseconds."""

_MAX_INDEX = 1024**3
_SECONDS = 600.0
_FRESH = "git update-index --untracked-cache && git status > /dev/null && git status > /dev/null"
_AGAIN = "git reset -q && git status > /dev/null"


class _ColdError(OvernightError):
    """The index could not be warmed; workspaces do without."""


class Warmer(msgspec.Struct, frozen=True, kw_only=True):
    """Makes warm layers in `store`, which lies beneath `root`."""

    root: Path
    store: LayerStore
    backend: SandboxBackend
    objects: Path

    async def get(
        self, checkout: Checkout, setup: str, installed: tuple[Path, ...]
    ) -> tuple[str, Path] | None:
        """Return key and folder of the warm layer over a checkout and what setup installed.

        `setup` names the layer that `installed` comes from; None where git would not do it here.
        """
        name = _name(checkout.keys, setup)

        async def build(folder: Path) -> Built:
            near = self.store.find(KIND, _name(checkout.keys[1:], setup)) if checkout.derived_from else None
            await self._build(folder, checkout, installed, None if near is None else near.path)
            return Built(parents=(*checkout.keys, *([setup] if setup else [])))

        try:
            layer = await self.store.get(KIND, name, build)
        except _ColdError:
            return None
        return f"{KIND}-{name}", layer.path / "tree"

    async def _build(
        self, folder: Path, checkout: Checkout, installed: tuple[Path, ...], near: Path | None
    ) -> None:
        owner = self.backend.owner
        upper, shown = folder / "upper", checkout.layers[0]
        for path in (upper, folder / "work", upper / ".git"):
            make_directory(path, owner)
        if near is None:
            shown = folder / "nothing"
            make_directory(shown, owner)
        else:
            _copy(near / "tree/.git/index", upper / ".git/index", owner)
        (upper / ".git/config").write_text(CONFIG + _settings())
        if owner is not None:
            os.chown(upper / ".git/config", *owner)
        spec = SandboxSpec(
            lower=(*checkout.layers, *installed),
            upper=upper,
            work=folder / "work",
            binds=(
                Bind(source=self.objects, target=SANDBOX_OBJECTS),
                Bind(source=shown, target=SANDBOX_UPPER),
                Bind(source=CHANGED_SOURCE, target=CHANGED_PROGRAM),
            ),
            tools=("python3",),
        )
        sandbox = self.backend.open(spec)
        try:
            script = _FRESH if near is None else _AGAIN
            result = await sandbox.run(Command(script=script, seconds=_SECONDS))
        finally:
            await sandbox.close()
        if result.exit_code != 0:
            raise _ColdError("git could not warm the index")
        self._keep(folder, upper)
        for name in ("upper", "work", "nothing"):
            remove_tree(folder / name)

    def _keep(self, folder: Path, upper: Path) -> None:
        """Take what git made over into the layer, as plain bytes."""
        tree = folder / "tree"
        for path in (tree, tree / ".git"):
            make_directory(path, self.backend.owner)
        for name in ("index", "config"):
            try:
                content = merged.read((upper,), (".git", name), _MAX_INDEX)
            except PatchError as error:
                raise _ColdError(error.message) from error
            if content is None or (name == "index" and (b"FSMN" not in content or b"UNTR" not in content)):
                raise _ColdError("git kept no caches")
            (tree / ".git" / name).write_bytes(content)
            (tree / ".git" / name).chmod(0o644)
            if self.backend.owner is not None:
                os.chown(tree / ".git" / name, *self.backend.owner)


def _settings() -> str:
    program = f"python3 -I -S {CHANGED_PROGRAM} 2>/dev/null"
    return f"[core]\n\tuntrackedCache = true\n\tfsmonitor = {program}\n\tfsmonitorHookVersion = 2\n"


def _name(keys: tuple[str, ...], setup: str) -> str:
    return hashlib.sha256("\0".join((*keys, setup)).encode()).hexdigest()[:40]


def _copy(source: Path, target: Path, owner: tuple[int, int] | None) -> None:
    shutil.copyfile(source, target)
    if owner is not None:
        os.chown(target, *owner)
