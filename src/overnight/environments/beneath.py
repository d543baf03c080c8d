"""Files beneath a directory that hostile code could write: opened part by part, no link ever followed."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from overnight.domain.errors import PatchError

Parts = tuple[str, ...]
Owner = tuple[int, int] | None

MAX_FILE_BYTES = 64 * 1024**2
"""A larger file cannot be read from a workspace or kept in a patch."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def is_git(name: str) -> bool:
    """Say whether git takes `name` for its own directory (also on file systems that ignore case)."""
    return name.lower() == ".git"


def split_path(path: str) -> Parts:
    """Return the parts of a path relative to the repository's root.

    Raises:
        PatchError: the path is absolute, leaves the repository, or lies in git's own directory.
    """
    parts = tuple(path.split("/"))
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise PatchError(f"Not a path inside the repository: {path!r}", "Use a relative path without `..`.")
    if any(is_git(part) for part in parts):
        raise PatchError(f"Git's own files are not part of a patch: {path!r}")
    return parts


def stat_at(directory: int, name: str) -> os.stat_result | None:
    """Return the state of `name` itself in an open directory, or None where there is nothing."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PatchError(f"Cannot look at {name!r}: {error.strerror}") from error


def names_at(directory: int) -> list[str]:
    """Return the names in an open directory, sorted."""
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries)


def open_directory(path: Path) -> int:
    """Open a directory of ours for reading; the last part of its path may be no link."""
    return os.open(path, _DIRECTORY)


def open_directory_at(directory: int, name: str) -> int:
    """Open a directory for reading; one that its owner has closed to himself is opened up first."""
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory)
    except PermissionError:
        _open_up(directory, name, 0o700)
        return os.open(name, _DIRECTORY, dir_fd=directory)


@contextmanager
def directory_at(root: Path, parts: Parts) -> Generator[int | None]:
    """Open the directory `parts` beneath `root`; None where a part is missing or is no directory."""
    current = open_directory(root)
    try:
        for name in parts:
            found = stat_at(current, name)
            if found is None or not stat.S_ISDIR(found.st_mode):
                yield None
                return
            below = open_directory_at(current, name)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def read_at(directory: int, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
    """Return a regular file's bytes, or a symbolic link's target; None where there is nothing.

    Raises:
        PatchError: it is a directory, a device, a pipe or a socket, or larger than `max_bytes`.
    """
    found = stat_at(directory, name)
    if found is None:
        return None
    if stat.S_ISLNK(found.st_mode):
        return os.fsencode(os.readlink(name, dir_fd=directory))
    if not stat.S_ISREG(found.st_mode):
        raise PatchError(f"Not a regular file: {name!r}")
    handle = open_file_at(directory, name)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        if size > max_bytes:
            raise PatchError(
                f"{name!r} has {size:,} bytes, more than the {max_bytes:,} that a patch may hold per file",
                "Add the file to .gitignore, or make it smaller.",
            )
        return file.read(max_bytes)


def open_file_at(directory: int, name: str) -> int:
    """Open a regular file for reading, whatever its mode.

    Raises:
        PatchError: it is no regular file.
    """
    try:
        handle = os.open(name, _FILE, dir_fd=directory)
    except PermissionError:
        _open_up(directory, name, 0o600)
        handle = os.open(name, _FILE, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise PatchError(f"Not a regular file: {name!r}")
    return handle


def start_writing_at(directory: int, name: str) -> None:
    """Let the system write a regular file's pages to disk, without waiting for it.

    From then on a write through a mapping that a program still has changes the file's times again.
    """
    handle = open_file_at(directory, name)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def write_at(directory: int, name: str, content: bytes, mode: int, owner: Owner) -> None:
    """Put a regular file in place in one step, over whatever file, link or whiteout was there."""
    temporary = f".overnight-{os.getpid()}-{name[:64]}"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as file:
        file.write(content)
        if owner is not None:
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def link_at(directory: int, name: str, target: bytes, owner: Owner) -> None:
    """Put a symbolic link in place of whatever file, link or whiteout was there."""
    if stat_at(directory, name) is not None:
        os.unlink(name, dir_fd=directory)
    os.symlink(os.fsdecode(target), name, dir_fd=directory)
    chown_at(directory, name, owner)


def chown_at(directory: int, name: str, owner: Owner) -> None:
    """Give `name` itself to `owner`."""
    if owner is not None:
        os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)


def chown_tree(root: Path, owner: Owner) -> None:
    """Give `root` and all beneath it to `owner`; None leaves it as it is."""
    if owner is None:
        return
    os.chown(root, *owner, follow_symlinks=False)
    for _, directories, files, handle in os.fwalk(root, follow_symlinks=False):
        for name in directories + files:
            os.chown(name, *owner, dir_fd=handle, follow_symlinks=False)


def make_directory(path: Path, owner: Owner, mode: int = 0o755) -> None:
    """Make one new directory with exactly this mode and owner."""
    path.mkdir()
    path.chmod(mode)
    if owner is not None:
        os.chown(path, *owner)


def take_directory(path: Path, owner: Owner, mode: int = 0o755) -> None:
    """Give one directory of ours, made if it is missing, exactly this mode and owner."""
    with suppress(FileExistsError):
        path.mkdir()
    path.chmod(mode)
    if owner is not None:
        os.chown(path, *owner)


def remove_tree(root: Path) -> None:
    """Remove `root` and all beneath it, however deep, whatever the modes; missing is fine."""
    try:
        empty_tree(root)
        root.rmdir()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        root.unlink(missing_ok=True)


def empty_tree(root: Path) -> None:
    """Remove all beneath `root`.

    Directories are moved up next to each other before they are emptied: neither a deep tree nor a closed
    directory (such as overlay's own `work/work`) can then stop the removal.
    """
    top = open_directory(root)
    try:
        os.fchmod(top, stat.S_IMODE(os.fstat(top).st_mode) | 0o700)
        pending = _unlink_files(top, top, 0)
        counter = len(pending)
        while pending:
            name = pending.pop()
            handle = open_directory_at(top, name)
            try:
                os.fchmod(handle, 0o700)
                moved = _unlink_files(handle, top, counter)
            finally:
                os.close(handle)
            counter += len(moved)
            pending += moved
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _unlink_files(directory: int, top: int, counter: int) -> list[str]:
    """Unlink what is no directory; move directories up into `top` and return their new names."""
    moved: list[str] = []
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
            continue
        target = f".overnight-removed-{os.getpid()}-{counter + len(moved)}"
        try:
            os.rename(name, target, src_dir_fd=directory, dst_dir_fd=top)
        except PermissionError:
            _open_up(directory, name, 0o700)
            os.rename(name, target, src_dir_fd=directory, dst_dir_fd=top)
        moved.append(target)
    return moved


def _open_up(directory: int, name: str, mode: int) -> None:
    """Change the mode of `name` itself: through /proc, as Linux knows no chmod that follows no link."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not stat.S_ISLNK(os.fstat(handle).st_mode):
            Path(f"/proc/self/fd/{handle}").chmod(mode)
    finally:
        os.close(handle)
