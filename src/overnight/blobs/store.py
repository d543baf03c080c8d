"""A folder of immutable objects named by the SHA-256 of their content; safe for many processes."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import zstandard

from overnight.domain.errors import ConflictError, NotFoundError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")


class BlobStore:
    """Objects under `root`. Synchronous: an object is one small file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, content: bytes) -> str:
        """Keep `content`, on disk when this returns, and return its digest; twice is the same as once."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        self._make(path.parent)
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(zstandard.compress(content, 3))
                file.flush()
                os.fsync(file.fileno())
            # Two writers of one digest write the same bytes: whoever is last wins, and nobody sees half.
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync(path.parent)
        return digest

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

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for parent in (folder.parent, folder.parent.parent):
            _sync(parent)


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
