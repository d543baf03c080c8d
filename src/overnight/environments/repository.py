"""Reads the files of a commit for detection: one listing, and one git process for all contents."""

from collections.abc import Mapping

from overnight.environments.detect.reader import MAX_BYTES
from overnight.environments.detect.wanted import wanted
from overnight.git.mirror import Mirror
from overnight.git.objects import GITLINK, list_tree, read_objects

_MAX_FILES = 400


class CommitFiles:
    """A commit's files: all the paths, and the contents of those that detection may ask for.

    `refused` says why some are not among the contents although they are there.
    """

    def __init__(
        self, paths: tuple[str, ...], contents: Mapping[str, bytes], refused: Mapping[str, str] | None = None
    ) -> None:
        self._paths = paths
        self._contents = contents
        self._refused = refused or {}

    def paths(self) -> tuple[str, ...]:
        """Return the paths of all files, sorted."""
        return self._paths

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, or None where there is none or it is of no interest to detection."""
        return self._contents.get(path)

    def refused(self, path: str) -> str:
        """Return why a file that is there must not be read; empty if it may."""
        return self._refused.get(path, "")


async def read_commit(mirror: Mirror, commit: str) -> CommitFiles:
    """Read what detection needs of a commit: configuration files and some of the tests."""
    entries = [entry for entry in await list_tree(mirror, commit) if entry.mode != GITLINK]
    regular = {entry.path: entry for entry in entries if entry.mode & 0o170000 == 0o100000}
    refused = {entry.path: "it is a symbolic link" for entry in entries if entry.path not in regular}
    chosen = wanted(tuple(regular))
    refused |= {path: "it is too large" for path in chosen if regular[path].size > MAX_BYTES}
    asked = [path for path in chosen if path not in refused][:_MAX_FILES]
    contents = await read_objects(mirror, [regular[path].oid for path in asked])
    found = {path: content for path, content in zip(asked, contents, strict=True) if content is not None}
    return CommitFiles(tuple(sorted(entry.path for entry in entries)), found, refused)
