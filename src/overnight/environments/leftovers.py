"""Looks through what setup made for the secrets that it was lent, before anybody may use it."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from overnight.domain.errors import SetupError
from overnight.domain.ports import LentSecrets
from overnight.environments.beneath import open_directory_at, open_file_at, stat_at

_PIECE = 8 * 1024**2
_OVERLAP = 1024**2
"""More than any spelling of a value takes, spaces and line breaks left out."""
_SPACES = b" \t\r\n\v\f"
_HINT = (
    "Let setup use it without writing it down (.npmrc, pip.conf, .git-credentials, a log that is kept), or "
    "remove what holds it at the end of setup."
)


def refuse_leftovers(roots: Mapping[str, Path], secrets: LentSecrets) -> None:
    """Search every name, link, file and attribute beneath `roots` (by their names inside) for lent values.

    Not seen: a value in a compressed or encrypted file.

    Raises:
        SetupError: one was found, and where; what setup made must not be used.
    """
    for shown, root in roots.items():
        for path, directories, files, handle in os.fwalk(root, follow_symlinks=False):
            below = Path(path).relative_to(root)
            for name in directories + files:
                found = secrets.found_in(os.fsencode(name)) or _found(handle, name, secrets)
                if found is not None:
                    where = below / name
                    raise _leftover(found, f"{shown}/{where}" if shown else str(where))


def _found(directory: int, name: str, secrets: LentSecrets) -> str | None:
    state = stat_at(directory, name)
    if state is None:
        return None
    if stat.S_ISLNK(state.st_mode):
        return secrets.found_in(os.fsencode(os.readlink(name, dir_fd=directory)))
    if stat.S_ISDIR(state.st_mode):
        handle = open_directory_at(directory, name)
        try:
            return _in_attributes(handle, secrets)
        finally:
            os.close(handle)
    if not stat.S_ISREG(state.st_mode):
        return None
    with os.fdopen(open_file_at(directory, name), "rb") as file:
        if found := _in_attributes(file.fileno(), secrets):
            return found
        before = b""
        while piece := file.read(_PIECE):
            if found := secrets.found_in(before + piece):
                return found
            # Without spaces, as the search compares: any number of them may stand inside a value.
            before = (before + piece.translate(None, _SPACES))[-_OVERLAP:]
    return None


def _in_attributes(handle: int, secrets: LentSecrets) -> str | None:
    """Search what a file carries besides its content."""
    try:
        names = os.listxattr(handle)
        held = b"\n".join(os.fsencode(name) + b"=" + os.getxattr(handle, name) for name in names)
    except OSError:
        # A file system without them has none to hide anything in.
        return None
    return secrets.found_in(held)


def _leftover(name: str, where: str) -> SetupError:
    return SetupError(f"Setup left the value of the secret {name} in {where}; its result is not kept.", _HINT)
