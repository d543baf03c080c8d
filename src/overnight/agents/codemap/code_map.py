"""The map of one repository at a commit, with what a workspace changed since."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Final

import msgspec

from overnight.agents.codemap.cache import Names, TagCache
from overnight.agents.codemap.focus import Focus
from overnight.agents.codemap.graph import Graph
from overnight.agents.codemap.languages import language_of
from overnight.agents.codemap.parsers import Parsers, Source
from overnight.agents.codemap.render import RepositoryMap, draw
from overnight.agents.codemap.tags import Definition, Tags
from overnight.domain.errors import PatchError
from overnight.domain.limits import Limits
from overnight.environments.interface import Workspace

READ_BYTES: Final = 8 * 1024**2
"""Files that are read together."""
REGULAR: Final = (0o100644, 0o100755)


class Entry(msgspec.Struct, frozen=True):
    """A file of the commit. `size` is -1 where it was not asked for."""

    path: str
    mode: int
    blob: str
    size: int = -1


class Files(msgspec.Struct, frozen=True):
    """The source files of a repository as they are now, and which of them are not in the map."""

    names: Mapping[str, Names]
    blobs: Mapping[str, str]
    """Of those that are as the commit has them."""
    limits: Mapping[str, int]
    """How many files a limit kept out, by its name."""


class CodeMap:
    """Knows a commit's definitions and references. Holds next to nothing between calls; safe to keep.

    `entries` lists the commit's files, with sizes if it is told so; `read` returns the contents of blobs.
    """

    def __init__(
        self,
        cache: TagCache,
        entries: Callable[[bool], Awaitable[Sequence[Entry]]],
        read: Callable[[Sequence[str]], Awaitable[Sequence[bytes | None]]],
        limits: Limits | None = None,
    ) -> None:
        self._cache = cache
        self._entries = entries
        self._read = read
        self._limits = limits or Limits()
        self._lock = asyncio.Lock()
        self._changed: dict[str, tuple[bytes, Tags]] = {}
        """Of files that the workspace changed: a digest of the content, and its tags. Kept out of the cache,
        which other repositories share."""

    async def draw(
        self, focus: Focus, tokens: int, workspace: Workspace | None = None
    ) -> tuple[RepositoryMap, Mapping[str, int]]:
        """Return the map of at most `tokens` tokens, and how many files each limit kept out of it.

        Raises:
            GitError: the commit cannot be read.
            OvernightError: nothing can be parsed on this machine.
        """
        files = await self.files(workspace)
        return await asyncio.to_thread(self._draw, files, focus, tokens), files.limits

    def _draw(self, files: Files, focus: Focus, tokens: int) -> RepositoryMap:
        ranked = Graph(files.names).rank(focus)
        return draw(ranked, lambda paths: self.definitions(files, paths), tokens)

    async def files(self, workspace: Workspace | None = None) -> Files:
        """Return the names of every source file; what is not known yet is parsed. Raises as `draw`."""
        async with self._lock:
            found, limits = await self._base()
            names = {entry.path: known for entry, known in found}
            blobs = {entry.path: entry.blob for entry, _ in found}
            if workspace is not None:
                await self._overlay(workspace, names, blobs)
            return Files(names, blobs, limits)

    def definitions(self, files: Files, paths: Iterable[str]) -> dict[str, Sequence[Definition]]:
        """Return the definitions of some of `files`, by path."""
        wanted = [path for path in paths if path in files.names]
        known = self._cache.definitions([files.blobs[path] for path in wanted if path in files.blobs])
        found: dict[str, Sequence[Definition]] = {}
        for path in wanted:
            if path in files.blobs:
                found[path] = known.get(files.blobs[path], ())
            elif path in self._changed:
                found[path] = self._changed[path][1].definitions
        return found

    async def read(
        self, files: Files, paths: Sequence[str], workspace: Workspace | None = None
    ) -> dict[str, bytes]:
        """Return the contents of some of `files`, by path."""
        base = [path for path in paths if path in files.blobs]
        contents = await self._read([files.blobs[path] for path in base])
        found = {path: raw for path, raw in zip(base, contents, strict=True) if raw is not None}
        if workspace is not None:
            for path in paths:
                if path not in files.blobs:
                    found[path] = _read(workspace, path) or b""
        return found

    # --- the commit ---------------------------------------------------------------------------

    async def _base(self) -> tuple[list[tuple[Entry, Names]], dict[str, int]]:
        entries = _sources(await self._entries(False))
        limits: dict[str, int] = {}
        if len(entries) > self._limits.map_files:
            limits["map_files"] = len(entries) - self._limits.map_files
            entries = entries[: self._limits.map_files]
        blobs = list(dict.fromkeys(entry.blob for entry in entries))
        known = await asyncio.to_thread(self._cache.names, blobs)
        missing = {entry.blob for entry in entries if self._is_missing(known.get(entry.blob))}
        if missing:
            async with self._cache.alone(min(missing), self._limits.map_seconds):
                known |= await asyncio.to_thread(self._cache.names, sorted(missing))
                missing = {blob for blob in missing if self._is_missing(known.get(blob))}
                known |= await self._missing(missing, limits)
        found: list[tuple[Entry, Names]] = []
        for entry in entries:
            names = known.get(entry.blob, Names("", "\n", "\n", b""))
            found.append((entry, names))
            if limit := names.skipped.partition("=")[0]:
                limits[limit] = limits.get(limit, 0) + 1
        return found, limits

    async def _missing(self, missing: Collection[str], limits: dict[str, int]) -> dict[str, Names]:
        """Return the names of files that are not in the cache, as far as there is time for them."""
        if not missing:
            return {}
        sized = [entry for entry in _sources(await self._entries(True)) if entry.blob in missing]
        fresh = await self._parse({entry.blob: entry for entry in sized})
        if late := len(missing) - len(fresh):
            limits["map_seconds"] = late
        return {blob: Names.of(tags) for blob, tags in fresh.items()}

    def _is_missing(self, names: Names | None) -> bool:
        """Say whether a file is unknown, or was given up under a limit that is higher now."""
        if names is None:
            return True
        limit, _, value = names.skipped.partition("=")
        bounds = {
            "map_parse_seconds": self._limits.map_parse_seconds,
            "map_file_bytes": self._limits.map_file_bytes,
        }
        return limit in bounds and float(value or 0) < bounds[limit]

    async def _parse(self, entries: Mapping[str, Entry]) -> dict[str, Tags]:
        """Return the tags of blobs, which are in the cache then; read and parsed at the same time.

        What cannot be done within `map_seconds` is missing.
        """
        end = time.monotonic() + self._limits.map_seconds
        fresh: dict[str, Tags] = {}
        bound = self._limits.map_file_bytes
        for blob, entry in entries.items():
            if entry.size > bound:
                fresh[blob] = Tags(skipped=f"map_file_bytes={bound}")
        small = [entry for blob, entry in entries.items() if blob not in fresh]
        with closing(Parsers(self._limits.map_parse_seconds)) as parsers:
            parsing: asyncio.Task[dict[str, Tags]] | None = None
            for group in _groups(small):
                if time.monotonic() > end:
                    break
                contents = await self._read([entry.blob for entry in group])
                if parsing is not None:
                    fresh |= await parsing
                found = [(entry, raw) for entry, raw in zip(group, contents, strict=True) if raw is not None]
                parsing = asyncio.create_task(asyncio.to_thread(_tags, parsers, found))
            if parsing is not None:
                fresh |= await parsing
        await asyncio.to_thread(self._cache.keep, fresh)
        return fresh

    # --- the workspace ------------------------------------------------------------------------

    async def _overlay(self, workspace: Workspace, names: dict[str, Names], blobs: dict[str, str]) -> None:
        """Replace what the workspace changed."""
        changed: dict[str, tuple[bytes, Tags]] = {}
        unknown: list[tuple[str, bytes, Source]] = []
        for change in await asyncio.to_thread(workspace.changes):
            names.pop(change.path, None)
            blobs.pop(change.path, None)
            language = language_of(change.path)
            if change.mode not in REGULAR or not language or not change.path.isprintable():
                continue
            content = _read(workspace, change.path)
            if content is None or len(content) > self._limits.map_file_bytes or _is_binary(content):
                continue
            digest = hashlib.sha256(content).digest()
            before = self._changed.get(change.path)
            if before is not None and before[0] == digest:
                changed[change.path] = before
            else:
                unknown.append((change.path, digest, Source(language, content)))
        if unknown:
            with closing(Parsers(self._limits.map_parse_seconds)) as parsers:
                tags = await asyncio.to_thread(parsers.parse, [source for _, _, source in unknown])
            for (path, digest, _), one in zip(unknown, tags, strict=True):
                changed[path] = (digest, one)
        self._changed = changed
        for path, (_, one) in changed.items():
            names[path] = Names.of(one)


def _sources(entries: Iterable[Entry]) -> list[Entry]:
    """Return the files that a language is known for; a name with control characters could forge the map."""
    return [
        entry
        for entry in entries
        if entry.mode in REGULAR and language_of(entry.path) and entry.path.isprintable()
    ]


def _groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    groups: list[list[Entry]] = []
    size = 0
    for entry in entries:
        if not groups or size + entry.size > READ_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += entry.size
    return groups


def _tags(parsers: Parsers, found: Sequence[tuple[Entry, bytes]]) -> dict[str, Tags]:
    text = [(entry, raw) for entry, raw in found if not _is_binary(raw)]
    tags = parsers.parse([Source(language_of(entry.path), raw) for entry, raw in text])
    parsed = {entry.blob: one for (entry, _), one in zip(text, tags, strict=True)}
    return {entry.blob: parsed.get(entry.blob, Tags()) for entry, _ in found}


def _is_binary(content: bytes) -> bool:
    return b"\0" in content[:8192]


def _read(workspace: Workspace, path: str) -> bytes | None:
    try:
        return workspace.read(path)
    except PatchError:
        return None
