"""A folder of immutable objects named by the SHA-256 of their content; safe for many processes."""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import zstandard

from overnight.domain.errors import ConflictError, NotFoundError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
GRACE_SECONDS = 600.0
"""How long an object that nothing names yet is left alone."""


class BlobStore:
    """Objects under `root`. Synchronous: an object is one small file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def digest(content: bytes) -> str:
        """Return the name that `content` has in every store."""
        return hashlib.sha256(content).hexdigest()

    def put(self, content: bytes) -> str:
        """Keep `content`, on disk when this returns, and return its digest; twice is the same as once."""
        return self.put_all((content,))[0]

    def put_all(self, contents: Iterable[bytes]) -> list[str]:
        """Keep several objects, all on disk when this returns, and return their digests in order.

        Made for many small ones: everything is written before the first wait for the disk, which then
        takes the others along.
        """
        digests: list[str] = []
        written: dict[Path, tuple[int, str]] = {}
        folders: set[Path] = set()
        try:
            for content in contents:
                digest = self.digest(content)
                digests.append(digest)
                path = self._path(digest)
                if path not in written and not _touch(path):
                    folders |= self._make(path.parent)
                    written[path] = _write(path.parent, zstandard.compress(content, 3))
            for descriptor, _ in written.values():
                # Starts writing without waiting; Python offers this call for it.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for path, (descriptor, temporary) in written.items():
                os.fsync(descriptor)
                # Two writers of one digest write the same bytes: the last wins, and nobody sees half.
                Path(temporary).replace(path)
                folders.add(path.parent)
        except BaseException:
            for _, temporary in written.values():
                Path(temporary).unlink(missing_ok=True)
            raise
        finally:
            for descriptor, _ in written.values():
                os.close(descriptor)
        for folder in sorted(folders):
            _sync(folder)
        return digests

    def get(self, digest: str) -> bytes:
        """Return the object's bytes, checked against its name.

        Raises:
            NotFoundError: there is no such object.
            ConflictError: what lies there is not what was put.
        """
        path = self._path(digest)
        try:
            content = zstandard.decompress(path.read_bytes())
        except FileNotFoundError:
            raise NotFoundError(f"There is no object {digest[:12]}.", "It may have been pruned.") from None
        except zstandard.ZstdError as error:
            raise _corrupted(path, digest) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise _corrupted(path, digest)
        return content

    def has(self, digest: str) -> bool:
        """Say whether the object is there."""
        return self._path(digest).exists()

    def delete(self, digest: str) -> None:
        """Remove the object; missing is fine."""
        self._path(digest).unlink(missing_ok=True)

    def sweep(self, needed: Collection[str], grace: float = GRACE_SECONDS) -> int:
        """Remove the objects that are not `needed` and that nobody put for `grace` seconds; count them.

        The grace is for a writer that has put an object and has not told anybody of it yet.
        """
        removed = 0
        newest = time.time() - grace
        for digest in list(self.digests()):
            path = self._path(digest)
            with suppress(FileNotFoundError):
                if digest not in needed and path.stat().st_mtime <= newest:
                    path.unlink()
                    removed += 1
        return removed

    def digests(self) -> Iterator[str]:
        """Yield the digest of every object, in no particular order."""
        for path in self._files():
            digest = path.parent.name + path.name
            if _DIGEST.fullmatch(digest):
                yield digest

    def size(self) -> int:
        """Return the bytes of disk that the objects' files hold, half-written ones included."""
        total = 0
        for path in self._files():
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                # Another process deleted it meanwhile.
                continue
        return total

    def _files(self) -> Iterator[Path]:
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            if _FOLDER.fullmatch(folder.name):
                yield from folder.iterdir()

    def _path(self, digest: str) -> Path:
        # A digest may come from a log or a command line: nothing but a digest may become a path.
        if not _DIGEST.fullmatch(digest):
            raise NotFoundError(f"{digest!r} is not the name of an object.", "It has 64 hexadecimal digits.")
        return self.root / digest[:2] / digest[2:]

    def _make(self, folder: Path) -> set[Path]:
        """Make a folder if it is missing; return the folders whose names must reach the disk."""
        if folder.is_dir():
            return set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {folder.parent, folder.parent.parent}


def _touch(path: Path) -> bool:
    """Say whether the object is there, and keep it from being swept for a while if it is."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _write(folder: Path, data: bytes) -> tuple[int, str]:
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        Path(temporary).unlink(missing_ok=True)
        raise
    return descriptor, temporary


def _sync(folder: Path) -> None:
    """Make the names in `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _corrupted(path: Path, digest: str) -> ConflictError:
    return ConflictError(
        f"The object {digest[:12]} is damaged: its content does not match its name.",
        f"Restore {path} from a backup, or delete it and let it be made again.",
    )
