"""Tags by blob id, in one SQLite file that every process and every repository shares.

A blob's id is the hash of its content, so what is kept never goes stale: a new commit costs only the files
that it changed. It is a cache: whatever is wrong with it, it is made anew.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from overnight.agents.codemap.tags import Definition, Tags

MAX_BYTES: Final = 512 * 1024**2
"""Above it the half that was not used for longest goes."""
STALE_SECONDS: Final = 30 * 86_400.0
"""After so long the file of another version of grammars or queries goes."""
_DAY: Final = 86_400

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tags (
    blob TEXT PRIMARY KEY, used INTEGER NOT NULL, skipped TEXT NOT NULL,
    defines TEXT NOT NULL, refers TEXT NOT NULL, counts BLOB NOT NULL, definitions BLOB NOT NULL
) WITHOUT ROWID;
"""
_KEEP: Final = (
    "INSERT OR REPLACE INTO tags (blob, used, skipped, defines, refers, counts, definitions) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_NAMES: Final = (
    "SELECT blob, skipped, defines, refers, counts FROM tags WHERE blob IN (SELECT value FROM json_each(?))"
)
_DEFINITIONS: Final = "SELECT blob, definitions FROM tags WHERE blob IN (SELECT value FROM json_each(?))"
_USED: Final = "UPDATE tags SET used = ? WHERE used < ? AND blob IN (SELECT value FROM json_each(?))"
_FORGET: Final = (
    "DELETE FROM tags WHERE blob IN (SELECT blob FROM tags ORDER BY used LIMIT (SELECT count(*)/2 FROM tags))"
)


class Names(msgspec.Struct, frozen=True):
    """The names of one file: defined, referred to, how often. A line feed is around each, for searching."""

    skipped: str
    defines: str
    refers: str
    counts: bytes

    @classmethod
    def of(cls, tags: Tags) -> "Names":
        """Return the names of a file's tags."""
        defined = dict.fromkeys(one.name for one in tags.definitions if one.kind != "scope")
        return cls(tags.skipped, _lines(defined), _lines(tags.references), tags.counts)


def _lines(names: Mapping[str, None] | Sequence[str]) -> str:
    return "\n" + "".join(f"{name}\n" for name in names)


class TagCache:
    """The cache beneath one directory. Every call opens the file for itself: from any thread, any process."""

    def __init__(self, folder: Path, version: str, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._path = folder / f"tags-{version}.db"
        self._max_bytes = max_bytes
        self._decoder = msgspec.msgpack.Decoder(tuple[Definition, ...])

    def names(self, blobs: Sequence[str]) -> dict[str, Names]:
        """Return the names of those files that are known."""
        with self._open() as database:
            if database is None:
                return {}
            asked = json.dumps(list(blobs))
            found = {row[0]: Names(*row[1:]) for row in database.execute(_NAMES, (asked,)) if _sound(row)}
            today = int(time.time()) // _DAY
            database.execute(_USED, (today, today, json.dumps(list(found))))
            return found
        return {}

    def definitions(self, blobs: Sequence[str]) -> dict[str, tuple[Definition, ...]]:
        """Return the definitions of those files that are known."""
        with self._open() as database:
            if database is None:
                return {}
            found: dict[str, tuple[Definition, ...]] = {}
            for blob, raw in database.execute(_DEFINITIONS, (json.dumps(list(blobs)),)):
                with contextlib.suppress(msgspec.DecodeError):
                    found[blob] = self._decoder.decode(raw)
            return found
        return {}

    def keep(self, tags: Mapping[str, Tags]) -> None:
        """Keep the tags of files, by blob id. Where that fails they are made again next time."""
        today = int(time.time()) // _DAY
        rows: list[tuple[object, ...]] = []
        for blob, one in tags.items():
            names = Names.of(one)
            raw = msgspec.msgpack.encode(one.definitions)
            rows.append((blob, today, names.skipped, names.defines, names.refers, names.counts, raw))
        with self._open() as database:
            if database is not None:
                database.executemany(_KEEP, rows)
        self._bound()

    @asynccontextmanager
    async def alone(self, blob: str, seconds: float) -> AsyncGenerator[None]:
        """Wait for whoever parses the files of which `blob` is the first, in any process, at most `seconds`.

        Attempts of one task would else all do the same at the same time. It saves work and nothing more.
        """
        path = self._folder / f"parsing-{blob}.lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield
            return
        try:
            end = time.monotonic() + seconds
            while not _locked(lock) and time.monotonic() < end:  # noqa: ASYNC110 (another process has it)
                await asyncio.sleep(0.05)
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(lock)

    def _bound(self) -> None:
        try:
            if self._path.stat().st_size <= self._max_bytes:
                return
        except OSError:
            return
        with self._open() as database:
            if database is not None:
                database.execute(_FORGET)
                database.commit()
                database.execute("VACUUM")

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection | None]:
        """Open the file, made where it is missing and made anew where it is damaged; None where it cannot be.

        What goes wrong inside ends the body quietly.
        """
        database = self._connected()
        try:
            yield database
            if database is not None:
                database.commit()
        except sqlite3.OperationalError:
            pass  # busy for too long, or the disk is full: this time without
        except sqlite3.DatabaseError:
            self._remove()
        finally:
            if database is not None:
                database.close()

    def _connected(self) -> sqlite3.Connection | None:
        try:
            return self._connect()
        except sqlite3.OperationalError:
            return None
        except sqlite3.DatabaseError:
            self._remove()
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            return None

    def _connect(self) -> sqlite3.Connection:
        new = not self._path.exists()
        if new:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._sweep()
        database = sqlite3.connect(self._path, timeout=30.0)
        # After a power loss the last tags may be missing, never wrong: WAL frames have checksums.
        database.execute("PRAGMA synchronous = NORMAL")
        if new:
            # Another process may be at it: then it is done already, or works the old way.
            with contextlib.suppress(sqlite3.OperationalError):
                database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)
        return database

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + ending).unlink()

    def _sweep(self) -> None:
        """Remove the files of other versions that nobody used for long."""
        for other in self._folder.glob("tags-*.db*"):
            with contextlib.suppress(OSError):
                if other.stat().st_mtime < time.time() - STALE_SECONDS:
                    other.unlink()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sound(row: tuple[object, ...]) -> bool:
    """Say whether a row is as `keep` wrote it; another one counts as missing."""
    _, skipped, defines, refers, counts = row
    if not (isinstance(skipped, str) and isinstance(defines, str) and isinstance(refers, str)):
        return False
    return isinstance(counts, bytes) and refers.count("\n") == len(counts) + 1
