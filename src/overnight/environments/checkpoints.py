"""Checkpoints on disk: a list of paths, and every file's content an object of its own, kept once."""

from collections.abc import Iterable

import msgspec

from overnight.blobs.store import BlobStore
from overnight.domain.errors import PatchError
from overnight.domain.patch import FileChange

_VERSION = 2
_BATCH_BYTES = 32 * 1024**2
"""So much content at most waits in memory before it is put."""


class KeptFile(msgspec.Struct, frozen=True, array_like=True):
    """A changed path: git's mode and the digest of its content; both are empty where it was deleted."""

    path: str
    mode: int = 0
    digest: str = ""


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """What a workspace changed against the base commit, sorted by path."""

    version: int
    files: tuple[KeptFile, ...]


class Keeper:
    """Puts the contents of one checkpoint as they come, and the checkpoint itself at the end."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._files: list[KeptFile] = []
        self._waiting: list[tuple[int, bytes]] = []
        self._bytes = 0

    def deleted(self, path: str) -> None:
        """Add a path that the base has and the workspace has not."""
        self._files.append(KeptFile(path))

    def known(self, path: str, mode: int, digest: str) -> None:
        """Add a file whose content is kept already."""
        self._files.append(KeptFile(path, mode, digest))

    def add(self, path: str, mode: int, content: bytes) -> None:
        """Add a file or a link with its content."""
        self._waiting.append((len(self._files), content))
        self._files.append(KeptFile(path, mode))
        self._bytes += len(content)
        if self._bytes > _BATCH_BYTES:
            self._put()

    def end(self) -> tuple[str, tuple[KeptFile, ...]]:
        """Return the digest of the checkpoint, on disk with all its contents; empty where nothing changed."""
        if not self._files:
            return "", ()
        # The list goes with the last contents: one wait for the disk where there are few.
        listing = msgspec.msgpack.encode(Checkpoint(_VERSION, tuple(self._planned())))
        digest = self._put(listing)
        return digest, tuple(self._files)

    def _planned(self) -> list[KeptFile]:
        files = list(self._files)
        for (number, _), digest in zip(self._waiting, self._digests(), strict=True):
            files[number] = msgspec.structs.replace(files[number], digest=digest)
        return files

    def _digests(self) -> list[str]:
        return [BlobStore.digest(content) for _, content in self._waiting]

    def _put(self, last: bytes | None = None) -> str:
        contents = [content for _, content in self._waiting]
        digests = self._blobs.put_all(contents if last is None else [*contents, last])
        for (number, _), digest in zip(self._waiting, digests, strict=False):
            self._files[number] = msgspec.structs.replace(self._files[number], digest=digest)
        self._waiting, self._bytes = [], 0
        return digests[-1] if digests else ""


def load(blobs: BlobStore, digest: str) -> Checkpoint:
    """Return a checkpoint; one without files for the empty digest.

    Raises:
        NotFoundError: there is no such object.
        PatchError: the object is no checkpoint.
    """
    if not digest:
        return Checkpoint(_VERSION, ())
    try:
        found = msgspec.msgpack.decode(blobs.get(digest), type=Checkpoint)
    except msgspec.MsgspecError as error:
        raise PatchError(f"Checkpoint {digest} cannot be read: {error}") from error
    if found.version != _VERSION:
        raise PatchError(
            f"Checkpoint {digest} has version {found.version}, expected {_VERSION}",
            "It was made by another version of Overnight; start the attempt again.",
        )
    return found


def contents(blobs: BlobStore, files: Iterable[KeptFile]) -> list[FileChange]:
    """Return the files of a checkpoint with their contents, ready to be applied."""
    return [
        FileChange(path=file.path, mode=file.mode, content=blobs.get(file.digest) if file.digest else None)
        for file in files
    ]


def objects(blobs: BlobStore, digest: str) -> set[str]:
    """Return the digests of all the objects that a checkpoint needs, itself included."""
    if not digest:
        return set()
    return {digest, *(file.digest for file in load(blobs, digest).files if file.digest)}
