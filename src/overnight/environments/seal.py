"""What makes a finished layer trustworthy: a list of its files with digests, and a seal written last.

The seal is checked at every use, which costs a few calls; the list is compared with the files where the
seal does not fit the folder, and on request.
"""

import ctypes
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from overnight.environments.beneath import open_directory_at, open_file_at, stat_at

_FORMAT = 2
_SEAL = "seal"
_MANIFEST = "manifest"
_OWN = frozenset({_SEAL, _MANIFEST})
_libc = ctypes.CDLL(None, use_errno=True)


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """Written into a layer's folder when all else is on disk: without it the layer does not exist."""

    format: int = _FORMAT
    manifest: str
    """SHA-256 of the list of files: the layer's content as one name."""
    manifest_bytes: int
    entries: int
    bytes: int
    """What the layer takes on disk."""
    folder: int
    """The folder's inode: a copy or a restored backup has another one, and is looked at in full."""
    parents: tuple[str, ...] = ()
    """The layers (`kind-name`) that this one is worth nothing without."""
    facts: Mapping[str, str] = {}
    """What the builder wants to know again."""


def write_seal(folder: Path, parents: tuple[str, ...] = (), facts: Mapping[str, str] | None = None) -> Seal:
    """Bring everything in `folder` to the disk, then seal it.

    Raises:
        OSError: the disk is full, or failed.
    """
    digest, size, entries, blocks = _write_manifest(folder)
    _sync_file_system(folder)
    seal = Seal(
        manifest=digest,
        manifest_bytes=size,
        entries=entries,
        bytes=blocks,
        folder=folder.stat().st_ino,
        parents=parents,
        facts=dict(facts or {}),
    )
    spare = folder / f"{_SEAL}.new"
    with spare.open("wb") as file:
        file.write(msgspec.json.encode(seal))
        file.flush()
        os.fsync(file.fileno())
    spare.replace(folder / _SEAL)
    sync_folder(folder)
    return seal


def read_seal(folder: Path) -> Seal | None:
    """Return the seal of a layer; None where there is none that can be read."""
    try:
        seal = msgspec.json.decode((folder / _SEAL).read_bytes(), type=Seal)
    except (OSError, msgspec.MsgspecError):
        return None
    return seal if seal.format == _FORMAT else None


def fits(folder: Path, seal: Seal) -> bool:
    """Say whether the seal was written for this very folder and its list has the right size: cheap."""
    try:
        same = folder.stat().st_ino == seal.folder
        return same and (folder / _MANIFEST).stat().st_size == seal.manifest_bytes
    except OSError:
        return False


def verify(folder: Path) -> str:
    """Read every file of a layer and return what is wrong with it; empty if nothing is."""
    seal = read_seal(folder)
    if seal is None:
        return "it has no seal"
    try:
        kept = (folder / _MANIFEST).read_bytes()
        if hashlib.sha256(kept).hexdigest() != seal.manifest:
            return "its list of files is damaged"
        records = kept.split(b"\0")[:-1]
        count = 0
        for record, _ in _records(folder):
            if count >= len(records) or records[count] != record:
                return f"{_name(record)!r} is not what was sealed"
            count += 1
        if count < len(records):
            return f"{_name(records[count])!r} is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return ""


def reseal(folder: Path) -> None:
    """Seal a verified layer for the folder that it lies in now."""
    seal = read_seal(folder)
    if seal is not None:
        renewed = msgspec.structs.replace(seal, folder=folder.stat().st_ino)
        spare = folder / f"{_SEAL}.new"
        spare.write_bytes(msgspec.json.encode(renewed))
        spare.replace(folder / _SEAL)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_manifest(folder: Path) -> tuple[str, int, int, int]:
    """Write the list of files; return its digest and size, the number of entries and their disk blocks."""
    digest, size, entries, blocks = hashlib.sha256(), 0, 0, 0
    with (folder / _MANIFEST).open("wb") as file:
        for record, taken in _records(folder):
            line = record + b"\0"
            file.write(line)
            digest.update(line)
            size += len(line)
            entries += 1
            blocks += taken
    return digest.hexdigest(), size, entries, blocks


def _records(folder: Path) -> Iterator[tuple[bytes, int]]:
    """Yield (mode, content and path; disk bytes) of everything in a layer, in a fixed order."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # The deepest last: a stack, so that no depth of a tree can exhaust ours.
    pending: list[tuple[bytes, str | None]] = [(b"", None)]
    try:
        while pending:
            prefix, name = pending.pop()
            directory = os.dup(top) if name is None else _open_below(top, prefix)
            try:
                with os.scandir(directory) as found:
                    names = sorted(entry.name for entry in found)
                for child in names:
                    if name is None and (child in _OWN or child == f"{_SEAL}.new"):
                        continue
                    state = stat_at(directory, child)
                    if state is None:
                        continue
                    path = prefix + os.fsencode(child)
                    yield _record(directory, child, path, state), state.st_blocks * 512
                    if stat.S_ISDIR(state.st_mode):
                        pending.append((path + b"/", child))
            finally:
                os.close(directory)
    finally:
        os.close(top)


def _open_below(top: int, prefix: bytes) -> int:
    current = os.dup(top)
    try:
        for part in prefix.rstrip(b"/").split(b"/"):
            below = open_directory_at(current, os.fsdecode(part))
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def _record(directory: int, name: str, path: bytes, state: os.stat_result) -> bytes:
    content = b"-"
    if stat.S_ISREG(state.st_mode):
        with os.fdopen(open_file_at(directory, name), "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest().encode()
    elif stat.S_ISLNK(state.st_mode):
        target = os.fsencode(os.readlink(name, dir_fd=directory))
        content = hashlib.sha256(target).hexdigest().encode()
    return b"%o %d %d " % (state.st_mode, state.st_uid, state.st_gid) + content + b" " + path


def _name(record: bytes) -> str:
    return record.split(b" ", 4)[-1].decode("utf-8", "backslashreplace")


def _sync_file_system(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(handle)
