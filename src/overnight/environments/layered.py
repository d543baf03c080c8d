"""What overlay and copied workspaces share: host-side access to files, changes and checkpoints."""

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from overnight.blobs.store import BlobStore
from overnight.domain.errors import PatchError
from overnight.domain.patch import EXECUTABLE, REGULAR, SYMLINK, FileChange
from overnight.environments import checkpoints, layers
from overnight.environments.beneath import (
    MAX_FILE_BYTES,
    Parts,
    chown_at,
    directory_at,
    empty_tree,
    link_at,
    open_directory,
    open_directory_at,
    remove_tree,
    split_path,
    start_writing_at,
    stat_at,
    write_at,
)
from overnight.environments.differences import Differences, git_mode
from overnight.environments.interface import Change
from overnight.environments.ripgrep import ripgrep_binds
from overnight.environments.seen import Seen
from overnight.environments.snapshot import CHANGED_PROGRAM, CHANGED_SOURCE, SANDBOX_UPPER, Snapshot
from overnight.environments.volumes import let_go
from overnight.sandbox.interface import Bind, SandboxSpec

MAX_EXPORT_BYTES = 1024**3
"""All changed files together."""


class LayeredWorkspace:
    """A writable directory over the read-only layers of a snapshot.

    `lower` are the layers that the sandbox merges below `upper`; a full copy has none.
    """

    def __init__(
        self, root: Path, snapshot: Snapshot, blobs: BlobStore, lower: tuple[Path, ...], lock: int
    ) -> None:
        self._root = root
        self._upper = root / "upper"
        self._snapshot = snapshot
        self._blobs = blobs
        self._lower = lower
        self._lock = lock
        self._seen = Seen()
        self.bounded = False
        """Whether it lies on a file system of its own, so that it can fill no other."""
        self.host_writes = 0
        """How often the host wrote beneath a mount that may be alive; see `SandboxSpec.host_writes`."""

    # --- single files -------------------------------------------------------------------------

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes (a symbolic link's target), or None where there is no file."""
        return layers.read((self._upper, *self._lower), split_path(path))

    def mode(self, path: str) -> int | None:
        """Return git's mode of the file, None where there is no file."""
        found = layers.find((self._upper, *self._lower), split_path(path))
        return None if found is None or found.is_directory else git_mode(found.state)

    def write(self, path: str, content: bytes, executable: bool | None = None) -> None:
        """Write a regular file, making its directories; None keeps the mode that was there."""
        parts = split_path(path)
        if len(content) > MAX_FILE_BYTES:
            raise PatchError(f"{path!r} would have more than {MAX_FILE_BYTES:,} bytes")
        self.host_writes += 1
        before = self._replaceable(parts)
        if executable is None:
            executable = before is not None and git_mode(before.state) == EXECUTABLE
        with self._parent(parts) as directory:
            write_at(directory, parts[-1], content, 0o755 if executable else 0o644, self._snapshot.owner)

    def delete(self, path: str) -> None:
        """Remove a file, and the directories that it leaves empty; missing is fine."""
        parts = split_path(path)
        found = layers.find((self._upper, *self._lower), parts)
        if found is None:
            return
        if found.is_directory:
            raise PatchError(f"{path!r} is a directory")
        self.host_writes += 1
        self._hide(parts)
        for depth in range(len(parts) - 1, 0, -1):
            if layers.names((self._upper, *self._lower), parts[:depth]):
                break
            self._hide(parts[:depth])

    # --- the whole ----------------------------------------------------------------------------

    def files(self) -> list[str]:
        """Return the paths of the base commit's files plus the changed ones, less the deleted, sorted."""
        paths = set(self._snapshot.paths())
        for change in self.changes():
            if change.change == "deleted":
                paths.discard(change.path)
            else:
                paths.add(change.path)
        return sorted(paths)

    def changes(self) -> list[Change]:
        """Return what differs from the base commit, sorted by path; ignored files are left out."""
        return self._differences().list()

    def _differences(self, everything: bool = False, seen: Seen | None = None) -> Differences:
        base, installed = self._snapshot.checkout, self._snapshot.installed
        return Differences(self._upper, base, installed, not self._lower, everything, seen)

    def export(self) -> list[FileChange]:
        """Return the changes with their contents, ready to be committed.

        Raises:
            PatchError: a changed path is no regular file or link, has a name that is not UTF-8, or is too
                large to keep.
        """
        exported: list[FileChange] = []
        total = 0
        for change in self.changes():
            content = None if change.change == "deleted" else self._content(change)
            total += len(content or b"")
            _check_total(total)
            exported.append(FileChange(path=change.path, mode=change.mode, content=content))
        return exported

    def apply(self, changes: Sequence[FileChange]) -> None:
        """Write, link and delete as `changes` say; nothing is done if one of them cannot be."""
        for change in changes:
            split_path(change.path)
            if change.content is not None and change.mode not in (REGULAR, EXECUTABLE, SYMLINK):
                raise PatchError(f"{change.path!r} has a mode that no patch may have: {change.mode:o}")
        for change in changes:
            if change.content is None:
                self.delete(change.path)
        for change in changes:
            if change.content is None:
                continue
            if change.mode == SYMLINK:
                self._link(change.path, change.content)
            else:
                self.write(change.path, change.content, change.mode == EXECUTABLE)

    async def checkpoint(self, ignored: bool = False) -> str:
        """Keep the changes in the blob store and return their digest; empty where nothing changed.

        Only files that changed since the last checkpoint are read. With `ignored` the files that are
        ignored, and changes of what setup installed, are kept too.

        Raises:
            PatchError: as `export`.
        """
        keeper = checkpoints.Keeper(self._blobs)
        read: dict[str, os.stat_result] = {}
        total = 0
        for change in self._differences(ignored, self._seen).list():
            _check_name(change)
            if change.change == "deleted":
                keeper.deleted(change.path)
                continue
            state = self._state(change)
            total += state.st_size
            digest = self._seen.digest(change.path, state)
            if digest and self._blobs.has(digest):
                keeper.known(change.path, change.mode, digest)
            else:
                read[change.path] = state
                keeper.add(change.path, change.mode, self._content(change))
            _check_total(total)
        digest, files = keeper.end()
        for file in files:
            if file.path in read:
                self._seen.kept(file.path, read[file.path], file.digest)
        return digest

    async def restore(self, digest: str) -> None:
        """Make the changes be exactly those of a checkpoint; ignored files that it does not hold go too."""
        changes = checkpoints.contents(self._blobs, checkpoints.load(self._blobs, digest).files)
        self.host_writes += 1
        self._seen.forget()
        self._reset()
        self.apply(changes)

    def spec(self) -> SandboxSpec:
        """Return what a sandbox over this workspace is made of."""
        recipe = self._snapshot.recipe
        return SandboxSpec(
            lower=self._lower,
            upper=self._upper,
            work=self._root / "work" if self._lower else None,
            binds=(*self._snapshot.binds, *self._answering(), *ripgrep_binds()),
            variables=recipe.variables,
            path=recipe.path,
            tools=recipe.tools,
            scratch=self._root / "scratch",
            bounded=self.bounded,
            host_writes=lambda: self.host_writes,
            image=recipe.base,
        )

    def _answering(self) -> tuple[Bind, ...]:
        """Return what git inside needs to know from the upper layer what changed."""
        if self._snapshot.warm is None or not self._lower:
            return ()
        return (
            Bind(source=self._upper, target=SANDBOX_UPPER),
            Bind(source=CHANGED_SOURCE, target=CHANGED_PROGRAM),
        )

    def close(self) -> None:
        """Remove the workspace from disk."""
        let_go(self._root)
        remove_tree(self._root)
        if self._lock >= 0:
            # While it is held; whoever opened it meanwhile sees that it is gone.
            self._root.with_name(f"{self._root.name}.lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    # --- inside -------------------------------------------------------------------------------

    def _reset(self) -> None:
        empty_tree(self._upper)

    def _content(self, change: Change) -> bytes:
        _check_name(change)
        if change.mode not in (REGULAR, EXECUTABLE, SYMLINK):
            kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
            raise PatchError(
                f"{change.path!r} is {kinds.get(change.mode, 'a device')}, not a file",
                "Remove it, or make it outside the repository.",
            )
        try:
            content = self.read(change.path)
        except PatchError as error:
            raise PatchError(f"{change.path}: {error.message}", error.hint) from error
        if content is None:
            raise PatchError(f"{change.path!r} went away while it was read")
        return content

    def _state(self, change: Change) -> os.stat_result:
        """Return the state of a changed file, which lies in the upper layer."""
        parts = split_path(change.path)
        with directory_at(self._upper, parts[:-1]) as directory:
            state = None if directory is None else stat_at(directory, parts[-1])
            if directory is not None and state is not None and stat.S_ISREG(state.st_mode):
                start_writing_at(directory, parts[-1])
        if state is None:
            raise PatchError(f"{change.path!r} went away while it was read")
        return state

    def _link(self, path: str, target: bytes) -> None:
        parts = split_path(path)
        if not target or b"\0" in target or len(target) > 4095:
            raise PatchError(f"{path!r} is a link with an impossible target")
        self.host_writes += 1
        self._replaceable(parts)
        with self._parent(parts) as directory:
            link_at(directory, parts[-1], target, self._snapshot.owner)

    def _replaceable(self, parts: Parts) -> layers.Found | None:
        """Return what is at a path that is about to be written; an empty directory there is removed."""
        found = layers.find((self._upper, *self._lower), parts)
        if found is not None and found.is_directory:
            if self._holds_files(parts):
                raise PatchError(f"{'/'.join(parts)!r} is a directory")
            self._hide(parts)
            return None
        return found

    def _holds_files(self, parts: Parts) -> bool:
        view = (self._upper, *self._lower)
        pending = [parts]
        while pending:
            directory = pending.pop()
            for name in layers.names(view, directory):
                found = layers.find(view, (*directory, name))
                if found is None or not found.is_directory:
                    return True
                pending.append((*directory, name))
        return False

    @contextmanager
    def _parent(self, parts: Parts) -> Generator[int]:
        """Open the directory of a path in the upper layer, made where it is missing."""
        current = open_directory(self._upper)
        try:
            for depth, name in enumerate(parts[:-1], start=1):
                below = self._step_down(current, name, parts[:depth])
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)

    def _step_down(self, current: int, name: str, parts: Parts) -> int:
        state = stat_at(current, name)
        if state is not None and stat.S_ISDIR(state.st_mode):
            return open_directory_at(current, name)
        hidden = state is not None and layers.is_whiteout(current, name, state)
        below = None if hidden else layers.find((self._upper, *self._lower), parts)
        if (state is not None and not hidden) or (below is not None and not below.is_directory):
            raise PatchError(f"{'/'.join(parts)!r} is a file or a link, not a directory")
        # A directory over a whiteout would show again what was deleted below: hide that by name.
        buried = layers.names(self._lower, parts) if hidden and self._lower else []
        if hidden:
            os.unlink(name, dir_fd=current)
        os.mkdir(name, 0o755, dir_fd=current)
        chown_at(current, name, self._snapshot.owner)
        directory = open_directory_at(current, name)
        os.fchmod(directory, 0o755)
        for child in buried:
            layers.white_out(directory, child, self._snapshot.owner)
        return directory

    def _hide(self, parts: Parts) -> None:
        """Make a file or an empty directory vanish from the merged view."""
        with self._parent(parts) as directory:
            name = parts[-1]
            state = stat_at(directory, name)
            if state is not None and stat.S_ISDIR(state.st_mode):
                remove_tree(Path(f"/proc/self/fd/{directory}") / name)
            elif state is not None:
                os.unlink(name, dir_fd=directory)
            if layers.find(self._lower, parts) is not None:
                layers.white_out(directory, name, self._snapshot.owner)


def _check_name(change: Change) -> None:
    try:
        change.path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PatchError(f"The name of {change.path!r} is not UTF-8") from error


def _check_total(total: int) -> None:
    if total > MAX_EXPORT_BYTES:
        raise PatchError(
            f"The changed files have more than {MAX_EXPORT_BYTES:,} bytes together",
            "Add generated files to .gitignore.",
        )
