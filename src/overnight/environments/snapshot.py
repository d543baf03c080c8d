"""A snapshot as a value: where its layers lie, and what a workspace over it needs."""

from pathlib import Path

import msgspec

from overnight.domain.environment import Recipe
from overnight.environments.beneath import Owner
from overnight.git.checkout import SANDBOX_OBJECTS
from overnight.sandbox.interface import DEPENDENCIES, Bind

SANDBOX_UPPER = "/overnight/upper"
"""Where a sandbox over an overlay shows the upper layer by itself, read-only."""
CHANGED_PROGRAM = "/overnight/changed.py"
"""What git inside asks for the paths that may have changed."""
CHANGED_SOURCE = Path(__file__).parent / "inside" / "changed.py"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared, read-only result of an environment at a commit.

    Its directories are shared by every workspace over it and must never be written to.
    """

    key: str
    """Names the content: the checkout, and what setup made over it."""
    commit: str
    recipe: Recipe
    """As it was given; without mounts, with a real directory's name for `/dependencies`."""
    tree: str
    """The id of the commit's tree."""
    checkout: tuple[Path, ...]
    """The layers of the commit's files, the newest first, with a `.git` that borrows its objects from the
    mirror."""
    installed: tuple[Path, ...] = ()
    """Files that setup made inside the repository, such as node_modules."""
    warm: Path | None = None
    """A layer over the others with an index from which git answers `status` without looking everywhere."""
    dependencies: Path | None
    """What setup put into `/dependencies`."""
    listing: Path
    """The paths of the commit's files, each ended by a NUL."""
    objects: Path | None
    """The mirror's object directory, on the host."""
    owner: Owner = None
    reused: bool = False
    keys: tuple[str, ...] = ()
    """The layers on disk (`kind-name`), for `Snapshots.prune`."""

    @property
    def layers(self) -> tuple[Path, ...]:
        """The layers below a workspace, top first. Tracked files win over whatever setup made."""
        warm = () if self.warm is None else (self.warm,)
        return (*warm, *self.checkout, *self.installed)

    @property
    def binds(self) -> tuple[Bind, ...]:
        """What a sandbox must see besides the workspace, read-only."""
        binds: list[Bind] = []
        if self.objects is not None:
            binds.append(Bind(source=self.objects, target=SANDBOX_OBJECTS))
        if self.dependencies is not None:
            binds.append(Bind(source=self.dependencies, target=DEPENDENCIES))
        return tuple(binds)

    def paths(self) -> list[str]:
        """Return the paths of the commit's files, sorted."""
        return [path for path in self.listing.read_text("utf-8", "surrogateescape").split("\0") if path]
