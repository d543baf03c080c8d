"""A layer that turns one commit's checkout into another's: changed files, and whiteouts for what is gone."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from overnight.domain.patch import EXECUTABLE, SYMLINK
from overnight.environments.beneath import (
    Owner,
    Parts,
    chown_at,
    link_at,
    open_directory,
    open_directory_at,
    split_path,
    stat_at,
    write_at,
)
from overnight.environments.layers import Merged, white_out
from overnight.git.advance import Entry
from overnight.git.objects import GITLINK

_FOLDER = 0o755


class Delta:
    """Writes the layer `root` over `layers`. No directory of it is opaque: what is gone is hidden by name."""

    def __init__(self, root: Path, layers: tuple[Path, ...], owner: Owner) -> None:
        self._root = root
        self._layers = layers
        self._owner = owner

    def write(self, entries: Sequence[Entry], contents: Mapping[str, bytes], when: int) -> None:
        """Write what `entries` say; every file gets the time `when`."""
        added: dict[Parts, set[str]] = {}
        removed: dict[Parts, set[str]] = {}
        for entry in entries:
            parts = split_path(entry.path)
            (added if entry.mode else removed).setdefault(parts[:-1], set()).add(parts[-1])
        for folder in list(added):
            # A directory with a new file below is there, whatever else was in it.
            for depth in range(len(folder), 0, -1):
                added.setdefault(folder[: depth - 1], set()).add(folder[depth - 1])
        self._drop_empty(added, removed)
        for folder, names in sorted(removed.items()):
            for name in sorted(names - added.get(folder, set())):
                self._white_out(folder, name)
        for entry in entries:
            if entry.mode:
                self._put(entry, contents.get(entry.path, b""), when)

    def _drop_empty(self, added: Mapping[Parts, set[str]], removed: dict[Parts, set[str]]) -> None:
        """Let directories that are left without a file vanish too, the deepest first."""
        deepest = max((len(folder) for folder in removed), default=0)
        for depth in range(deepest, 0, -1):
            for folder in [folder for folder in removed if len(folder) == depth]:
                if folder not in added and not self._names(folder) - removed[folder]:
                    del removed[folder]
                    removed.setdefault(folder[:-1], set()).add(folder[-1])

    def _names(self, folder: Parts) -> set[str]:
        with ExitStack() as stack:
            found = Merged.open(self._layers, stack)
            for name in folder:
                found = found.below(name, stack) if found is not None else None
            return set(found.names()) if found is not None else set()

    def _put(self, entry: Entry, content: bytes, when: int) -> None:
        *folder, name = split_path(entry.path)
        with ExitStack() as stack:
            directory = self._folder(tuple(folder), stack)
            if entry.mode == GITLINK:
                self._make(directory, name)
                return
            if entry.mode == SYMLINK:
                link_at(directory, name, content, self._owner)
            else:
                mode = 0o755 if entry.mode == EXECUTABLE else 0o644
                write_at(directory, name, content, mode, self._owner)
            os.utime(name, (when, when), dir_fd=directory, follow_symlinks=False)

    def _white_out(self, folder: Parts, name: str) -> None:
        with ExitStack() as stack:
            white_out(self._folder(folder, stack), name, self._owner)

    def _folder(self, folder: Parts, stack: ExitStack) -> int:
        """Open a directory of the layer until `stack` ends, made where it is missing."""
        current = open_directory(self._root)
        stack.callback(os.close, current)
        for name in folder:
            self._make(current, name)
            current = open_directory_at(current, name)
            stack.callback(os.close, current)
        return current

    def _make(self, directory: int, name: str) -> None:
        if stat_at(directory, name) is None:
            os.mkdir(name, _FOLDER, dir_fd=directory)
            os.chmod(name, _FOLDER, dir_fd=directory)
            chown_at(directory, name, self._owner)
