"""What a workspace changed against its base, read from the files themselves: no git, no trust in times.

Works in O(changes) on an overlay's upper directory, and in O(files) on a whole copy.
"""

import os
import stat
from contextlib import ExitStack
from pathlib import Path

from overnight.domain.errors import PatchError
from overnight.domain.patch import EXECUTABLE, REGULAR, SYMLINK
from overnight.environments.beneath import (
    MAX_FILE_BYTES,
    Parts,
    is_git,
    names_at,
    open_directory,
    open_directory_at,
    open_file_at,
    read_at,
    stat_at,
)
from overnight.environments.ignore import MAX_BYTES, IgnoreRules, never_exported
from overnight.environments.interface import Change
from overnight.environments.layers import Merged, is_opaque, is_whiteout
from overnight.environments.seen import Seen

MAX_DEPTH = 100
MAX_CHANGES = 50_000

_CHUNK = 1 << 20


def git_mode(state: os.stat_result) -> int:
    """Return the mode git would record; for what git cannot hold, the bare file type."""
    if stat.S_ISLNK(state.st_mode):
        return SYMLINK
    if stat.S_ISREG(state.st_mode):
        return EXECUTABLE if state.st_mode & stat.S_IXUSR else REGULAR
    return stat.S_IFMT(state.st_mode)


class _Level:
    """One directory in three places at once. `base` and `installed` are None where they have no such one."""

    def __init__(self, parts: Parts, upper: int, base: Merged | None, installed: Merged | None) -> None:
        self.parts = parts
        self.upper = upper
        self.base = base
        self.installed = installed


class Differences:
    """Compares a workspace's own directory with the layers of its base commit's checkout.

    With `whole` the directory is a full copy; otherwise it is the upper directory of an overlay.
    Files that setup installed (`installed`) and ignored ones are no changes, tracked ones always can be;
    with `everything` no file is ignored, and those that are installed belong to the base. What `seen`
    knows to be unchanged since it was compared is not read again.
    """

    def __init__(
        self,
        upper: Path,
        base: tuple[Path, ...],
        installed: tuple[Path, ...] = (),
        whole: bool = False,
        everything: bool = False,
        seen: Seen | None = None,
    ) -> None:
        self._upper = upper
        self._base = (*base, *installed) if everything else base
        self._installed = () if everything else installed
        self._whole = whole
        self._everything = everything
        self._seen = seen or Seen()
        self._changes: list[Change] = []

    def list(self) -> list[Change]:
        """Return the changes, sorted by path.

        Raises:
            PatchError: there are too many, or the tree is too deep.
        """
        self._changes = []
        with ExitStack() as stack:
            upper = open_directory(self._upper)
            stack.callback(os.close, upper)
            base, installed = Merged.open(self._base, stack), Merged.open(self._installed, stack)
            self._scan(_Level((), upper, base, installed), IgnoreRules(), ignored=False, whole=self._whole)
        return sorted(self._changes, key=lambda change: change.path)

    def _add(self, change: Change) -> None:
        self._changes.append(change)
        if len(self._changes) > MAX_CHANGES:
            raise PatchError(
                f"The workspace has more than {MAX_CHANGES:,} changed files",
                "Add generated files to .gitignore.",
            )

    def _scan(self, level: _Level, rules: IgnoreRules, ignored: bool, whole: bool) -> None:
        if len(level.parts) > MAX_DEPTH:
            raise PatchError(f"Directories are nested more than {MAX_DEPTH} deep: {level.parts[0]!r} …")
        if not ignored and not self._everything:
            rules = rules.below(len(level.parts), _ignore_file(level, whole))
        names = names_at(level.upper)
        for name in names:
            if not is_git(name):
                self._entry(level, name, rules, ignored, whole)
        if whole and level.base is not None:
            for name in sorted(set(level.base.names()) - set(names)):
                self._deleted(level.base, (*level.parts, name))

    def _entry(self, level: _Level, name: str, rules: IgnoreRules, ignored: bool, whole: bool) -> None:
        state = stat_at(level.upper, name)
        if state is None:
            return
        parts = (*level.parts, name)
        base = level.base.state(name) if level.base is not None else None
        if is_whiteout(level.upper, name, state):
            if base is not None and level.base is not None:
                self._deleted(level.base, parts)
            return
        is_directory = stat.S_ISDIR(state.st_mode)
        if not self._everything:
            ignored = ignored or never_exported(name) or rules.ignores(parts, is_directory)
        if is_directory:
            self._directory(level, name, rules, ignored, whole, base)
            return
        if base is not None and level.base is not None and not stat.S_ISDIR(base.st_mode):
            if not self._same(level.upper, level.base.holder(name), parts, state, base):
                self._add(Change(path="/".join(parts), change="modified", mode=git_mode(state)))
            return
        if base is not None and level.base is not None:
            self._deleted(level.base, parts)
        installed = level.installed.state(name) if level.installed is not None else None
        if not ignored and installed is None:
            self._add(Change(path="/".join(parts), change="added", mode=git_mode(state)))

    def _same(
        self, upper: int, base: int, parts: Parts, state: os.stat_result, before: os.stat_result
    ) -> bool:
        path = "/".join(parts)
        known = self._seen.is_base(path, state)
        if known is None:
            known = _same(upper, base, parts[-1], state, before, trust_times=self._whole)
            self._seen.compared(path, state, known)
        return known

    def _directory(
        self,
        level: _Level,
        name: str,
        rules: IgnoreRules,
        ignored: bool,
        whole: bool,
        base: os.stat_result | None,
    ) -> None:
        parts = (*level.parts, name)
        if base is not None and level.base is not None and not stat.S_ISDIR(base.st_mode):
            self._deleted(level.base, parts)
            base = None
        if ignored and base is None:
            return
        with ExitStack() as stack:
            upper = open_directory_at(level.upper, name)
            stack.callback(os.close, upper)
            below = level.base.below(name, stack) if base is not None and level.base is not None else None
            setup = level.installed.below(name, stack) if level.installed is not None else None
            whole = whole or is_opaque(upper)
            self._scan(_Level(parts, upper, below, setup), rules, ignored, whole)

    def _deleted(self, directory: Merged, parts: Parts) -> None:
        """Record a base file, or every file of a base directory, as deleted."""
        name = parts[-1]
        state = directory.state(name)
        if state is None or is_git(name):
            return
        if not stat.S_ISDIR(state.st_mode):
            self._add(Change(path="/".join(parts), change="deleted"))
            return
        with ExitStack() as stack:
            below = directory.below(name, stack)
            for inner in below.names() if below is not None else []:
                assert below is not None
                self._deleted(below, (*parts, inner))


def _ignore_file(level: _Level, whole: bool) -> bytes | None:
    """Return the directory's .gitignore as the workspace shows it."""
    name = ".gitignore"
    directory, state = level.upper, stat_at(level.upper, name)
    if state is None and not whole and level.base is not None:
        state = level.base.state(name)
        directory = level.base.holder(name) if state is not None else directory
    if state is None or not stat.S_ISREG(state.st_mode) or is_whiteout(directory, name, state):
        return None
    return read_at(directory, name) if state.st_size <= MAX_BYTES else None


def _same(
    upper: int, base: int, name: str, state: os.stat_result, before: os.stat_result, trust_times: bool
) -> bool:
    if git_mode(state) != git_mode(before):
        return False
    if stat.S_ISLNK(state.st_mode):
        return os.readlink(name, dir_fd=upper) == os.readlink(name, dir_fd=base)
    if not stat.S_ISREG(state.st_mode) or state.st_size != before.st_size:
        return False
    if trust_times and state.st_mtime_ns == before.st_mtime_ns:
        return True
    if state.st_size > MAX_FILE_BYTES:
        return False
    with (
        os.fdopen(open_file_at(upper, name), "rb") as after,
        os.fdopen(open_file_at(base, name), "rb") as old,
    ):
        while True:
            piece = after.read(_CHUNK)
            if piece != old.read(_CHUNK):
                return False
            if not piece:
                return True
