"""Which paths a patch may write: inside the repository, and never what git itself trusts."""

import re
import unicodedata

from overnight.domain.errors import PatchError
from overnight.domain.patch import EXECUTABLE, REGULAR, SYMLINK, FileChange

# Characters that HFS+ drops from names, so that `.g\u200cit` is `.git` there (git: utf8.c, is_hfs_dot_str).
_HFS_IGNORED = dict.fromkeys((*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF))
# NTFS: trailing dots and spaces and a `:stream` do not count; `git~1` is the short name of `.git`.
_NTFS_TAIL = re.compile(r"[. ]*(:.*)?$", re.DOTALL)
_MODES = frozenset((REGULAR, EXECUTABLE, SYMLINK))
COMPONENT_BYTES = 255
PATH_BYTES = 4096


def is_git_name(component: str) -> bool:
    """True if some file system takes `component` for `.git`."""
    plain = unicodedata.normalize("NFC", component.translate(_HFS_IGNORED)).casefold()
    return _NTFS_TAIL.sub("", plain) in (".git", "git~1")


def check_path(path: str) -> None:
    """Raise `PatchError` if a patch must not write `path`."""
    shown = "".join(c if c.isprintable() else "?" for c in path)[:200]
    raw = path.encode("utf-8", "surrogateescape")
    if not path or len(raw) > PATH_BYTES:
        raise PatchError(f"a path is empty or too long: {shown!r}")
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise PatchError(f"a path has control characters: {shown!r}")
    for component in path.split("/"):
        if component in ("", ".", ".."):
            raise PatchError(f"a path leaves the repository or is not in its plain form: {shown!r}")
        if len(component.encode("utf-8", "surrogateescape")) > COMPONENT_BYTES:
            raise PatchError(f"a file name is too long: {shown!r}")
        # On NTFS a backslash separates too.
        if any(is_git_name(part) for part in component.split("\\")):
            raise PatchError(f"a path reaches into .git: {shown!r}")


def check_changes(changes: "tuple[FileChange, ...] | list[FileChange]") -> None:
    """Raise `PatchError` unless every change may be written and no two of them clash."""
    written: set[str] = set()
    seen: set[str] = set()
    for change in changes:
        check_path(change.path)
        if change.path in seen:
            raise PatchError(f"a path is changed twice: {change.path}")
        seen.add(change.path)
        if change.content is None:
            continue
        if change.mode not in _MODES:
            raise PatchError(f"not a regular file or link (mode {change.mode:o}): {change.path}")
        name = change.path.rpartition("/")[2].casefold()
        if change.mode == SYMLINK and name in (".gitmodules", ".gitattributes", ".gitignore"):
            raise PatchError(f"{name} must not be a link: {change.path}")
        if change.mode == SYMLINK and (not change.content or b"\0" in change.content):
            raise PatchError(f"a link's target is empty or has a NUL: {change.path}")
        written.add(change.path)
    for path in written:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in written:
                raise PatchError(f"{parent} is a file and a directory at once")
            parent = parent.rpartition("/")[0]
