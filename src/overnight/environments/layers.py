"""What overlayfs shows, read from its layers on the host: whiteouts, opaque directories, merged lookups.

The format is that of the kernel's Documentation/filesystems/overlayfs.rst.
"""

import os
import stat
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from overnight.domain.errors import PatchError
from overnight.environments.beneath import (
    MAX_FILE_BYTES,
    Owner,
    Parts,
    chown_at,
    directory_at,
    names_at,
    open_directory,
    open_directory_at,
    read_at,
    stat_at,
)

_PREFIXES = ("user.overlay.", "trusted.overlay.")


class Found(msgspec.Struct, frozen=True):
    """A path in the merged view: the layer that it comes from (0 is the top) and its state."""

    layer: int
    state: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, which may be merged from several layers."""
        return stat.S_ISDIR(self.state.st_mode)


def is_whiteout(directory: int, name: str, state: os.stat_result) -> bool:
    """Say whether an entry of a layer only hides what lies below it."""
    if stat.S_ISCHR(state.st_mode):
        return state.st_rdev == 0
    if not stat.S_ISREG(state.st_mode) or state.st_size:
        return False
    attributes = _attributes(f"/proc/self/fd/{directory}/{name}")
    return any(f"{prefix}whiteout" in attributes for prefix in _PREFIXES)


def white_out(directory: int, name: str, owner: Owner) -> None:
    """Hide what lies below a name in an open directory of a layer; nothing may be there yet but that."""
    with suppress(FileExistsError):
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory)
    chown_at(directory, name, owner)


def is_opaque(directory: int) -> bool:
    """Say whether an open directory of a layer hides the directories of the same path below it.

    Raises:
        PatchError: it was moved here with its contents left behind, which only a mount by the kernel's
            own root can do and which nothing here asks for.
    """
    attributes = _attributes(directory)
    if any(f"{prefix}redirect" in attributes for prefix in _PREFIXES):
        raise PatchError("A directory of the workspace was moved in a way that cannot be read back.")
    for prefix in _PREFIXES:
        if f"{prefix}opaque" in attributes and os.getxattr(directory, f"{prefix}opaque") == b"y":
            return True
    return False


def _attributes(target: str | int) -> list[str]:
    try:
        if isinstance(target, int):
            return os.listxattr(target)
        return os.listxattr(target, follow_symlinks=False)
    except OSError:
        return []


def find(layers: tuple[Path, ...], parts: Parts) -> Found | None:
    """Return what the merged view of `layers` (top first) shows at a path; links are not followed."""
    with _merged(layers, parts[:-1]) as active:
        if not parts:
            return Found(active[0][0], os.fstat(active[0][1])) if active else None
        for layer, directory in active:
            state = stat_at(directory, parts[-1])
            if state is not None:
                return None if is_whiteout(directory, parts[-1], state) else Found(layer, state)
    return None


def read(layers: tuple[Path, ...], parts: Parts, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
    """Return the bytes of a file in the merged view, a link's target, or None where there is no file."""
    found = find(layers, parts)
    if found is None or found.is_directory:
        return None
    with directory_at(layers[found.layer], parts[:-1]) as directory:
        return None if directory is None else read_at(directory, parts[-1], max_bytes)


def names(layers: tuple[Path, ...], parts: Parts) -> list[str]:
    """Return the names that the merged view shows in a directory, sorted; none where there is none."""
    shown: dict[str, bool] = {}
    with _merged(layers, parts) as active:
        for _, directory in active:
            for name in names_at(directory):
                if name not in shown:
                    state = stat_at(directory, name)
                    shown[name] = state is not None and not is_whiteout(directory, name, state)
    return sorted(name for name, visible in shown.items() if visible)


class Merged:
    """One directory as read-only layers show it together, open on the host; the top layer comes first."""

    def __init__(self, handles: tuple[int, ...]) -> None:
        self._handles = handles

    @classmethod
    def open(cls, layers: tuple[Path, ...], stack: ExitStack) -> "Merged | None":
        """Open the root of `layers` until `stack` ends; None where there is no layer."""
        handles = tuple(open_directory(layer) for layer in layers)
        for handle in handles:
            stack.callback(os.close, handle)
        return cls(handles) if handles else None

    def state(self, name: str) -> os.stat_result | None:
        """Return what is there under `name`, or None."""
        return self._find(name)[1]

    def holder(self, name: str) -> int:
        """Return the open directory of the layer that `name`, which must be there, comes from."""
        return self._find(name)[0]

    def _find(self, name: str) -> tuple[int, os.stat_result | None]:
        for handle in self._handles:
            state = stat_at(handle, name)
            if state is not None:
                return handle, None if is_whiteout(handle, name, state) else state
        return -1, None

    def names(self) -> list[str]:
        """Return the names that are there, sorted."""
        if len(self._handles) == 1:
            names = names_at(self._handles[0])
        else:
            names = sorted({name for handle in self._handles for name in names_at(handle)})
        return [name for name in names if self.state(name) is not None]

    def below(self, name: str, stack: ExitStack) -> "Merged | None":
        """Open the directory `name` until `stack` ends; None where it is none."""
        handles: list[int] = []
        for number, handle in enumerate(self._handles):
            state = stat_at(handle, name)
            if state is None:
                continue
            if not stat.S_ISDIR(state.st_mode):
                break
            handles.append(open_directory_at(handle, name))
            stack.callback(os.close, handles[-1])
            if number + 1 < len(self._handles) and is_opaque(handles[-1]):
                break
        return Merged(tuple(handles)) if handles else None


@contextmanager
def _merged(layers: tuple[Path, ...], parts: Parts) -> Generator[list[tuple[int, int]]]:
    """Open the directories (layer, handle) that together are the directory `parts` of the merged view."""
    with ExitStack() as stack:

        def opened(handle: int) -> int:
            stack.callback(os.close, handle)
            return handle

        active = [(number, opened(open_directory(layer))) for number, layer in enumerate(layers)]
        for name in parts:
            below: list[tuple[int, int]] = []
            for layer, directory in active:
                state = stat_at(directory, name)
                if state is None:
                    continue
                if not stat.S_ISDIR(state.st_mode):
                    break
                below.append((layer, opened(open_directory_at(directory, name))))
                if is_opaque(below[-1][1]):
                    break
            active = below
        yield active
