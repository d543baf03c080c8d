"""The seam of every workspace: files by path, changes against the base, checkpoints."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from overnight.domain.patch import FileChange
from overnight.sandbox.interface import SandboxSpec


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A path that differs from the base. `mode` is git's: 0o100644, 0o100755, 0o120000; 0 if deleted."""

    path: str
    change: Literal["added", "modified", "deleted"]
    mode: int = 0


class Workspace(Protocol):
    """A writable layer over a snapshot. Host-side reads and writes follow no symbolic link.

    Paths are relative to the repository's root, with `/`; absolute ones, `..` and anything under `.git`
    raise `PatchError`. Not to be written from the host while a command runs in its sandbox.
    """

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes (a symbolic link's target), or None where there is no file."""
        ...

    def mode(self, path: str) -> int | None:
        """Return git's mode of the file, as in `Change.mode`; None where there is no file."""
        ...

    def write(self, path: str, content: bytes, executable: bool | None = None) -> None:
        """Write a regular file, making its directories; None keeps the mode that was there."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; missing is fine."""
        ...

    def files(self) -> list[str]:
        """Return the paths of the base commit's files plus the changed ones, less the deleted, sorted.

        Ignored and installed files (virtual environments, node_modules) are not among them.
        """
        ...

    def changes(self) -> list[Change]:
        """Return what differs from the base commit, sorted by path; ignored files are left out."""
        ...

    def export(self) -> list[FileChange]:
        """Return the changes with their contents, ready to be committed.

        Raises:
            PatchError: a changed path is no regular file or link, or is too large to keep.
        """
        ...

    def apply(self, changes: Sequence[FileChange]) -> None:
        """Write, link and delete as `changes` say."""
        ...

    async def checkpoint(self, ignored: bool = False) -> str:
        """Keep the changes, with `ignored` those of ignored files too, and return their digest.

        The caller sees to it that nothing writes meanwhile (`Sandbox.frozen`).
        """
        ...

    async def restore(self, digest: str) -> None:
        """Make the changes be exactly those of a checkpoint; an empty digest means none."""
        ...

    def spec(self) -> SandboxSpec:
        """Return what a sandbox over this workspace is made of."""
        ...

    def close(self) -> None:
        """Remove the workspace from disk."""
        ...
