"""The database file: opening, migrating, one writer, some readers.

SQLite in WAL mode. `synchronous=FULL`: every commit is on disk before anybody is told, so neither a kill
nor a power loss takes back what was shown; commits are grouped, which makes that affordable.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import QueuePool, StaticPool

from overnight.domain.errors import OvernightError
from overnight.store import schema
from overnight.store.writer import Work, Writer

__all__ = ["Database", "Work", "migrate"]

T = TypeVar("T")

READERS = 2
"""Threads that read. SQLite answers in microseconds; more would only wait for each other."""
BUSY_MILLISECONDS = 5000


class Database:
    """One SQLite file, shared with other processes. Safe to use from many tasks at once."""

    def __init__(self, path: Path, writing: Engine, reading: Engine) -> None:
        self.path = path
        self._writing = writing
        self._reading = reading
        self._writer = Writer(writing)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="overnight-read")

    @classmethod
    async def open(cls, path: Path) -> "Database":
        """Open the database at `path`; make it, or bring it up to date, where needed.

        Raises:
            OvernightError: the file is no database, or comes from a newer version.
        """
        return await asyncio.to_thread(cls._open, path)

    @classmethod
    def _open(cls, path: Path) -> "Database":
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Prompts and command output may hold private things: nobody else reads the file.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise OvernightError(
                f"The database {path} cannot be opened: {error.strerror}.",
                "Check the data directory's path, owner and free space.",
            ) from error
        writing = _engine(path, "BEGIN IMMEDIATE", StaticPool)
        try:
            _prepare(path, writing)
        except DatabaseError as error:
            writing.dispose()
            raise OvernightError(
                f"The database {path} cannot be used: {error.orig}.",
                _remedy(error),
            ) from error
        except BaseException:
            writing.dispose()
            raise
        return cls(path, writing, _engine(path, "BEGIN", QueuePool))

    async def tx(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and return what it returns, once it is on disk.

        `work` runs in the writer's thread, perhaps more than once, so it must have no effect outside the
        database. What it raises undoes its own changes and is raised here.
        """
        return await self._writer.submit(work)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query` on a consistent view of what is committed; it must not write."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._reading.connect() as connection:
            return query(connection)

    async def close(self) -> None:
        """Finish what is queued and give the file back."""
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        self._reading.dispose()
        self._writing.dispose()


def _engine(path: Path, begin: str, pool: type[QueuePool] | type[StaticPool]) -> Engine:
    """Return an engine whose transactions begin with the words `begin`."""
    sizes: dict[str, Any] = {"pool_size": READERS} if pool is QueuePool else {}
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        poolclass=pool,
        # No isolation level: the driver must not begin transactions behind SQLAlchemy's back.
        connect_args={"isolation_level": None, "check_same_thread": False},
        **sizes,
    )

    def connected(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _remedy(error: DatabaseError) -> str:
    """Return what a person can do about a database that SQLite will not work with."""
    reason = str(error.orig)
    if "full" in reason:
        return "Free some disk space, then try again."
    if "readonly" in reason or "unable to open" in reason:
        return "Make the data directory writable for you, or choose another one by OVERNIGHT_DATA_DIR."
    return "Restore it from a backup, or choose another one by OVERNIGHT_DATA_DIR."


def _prepare(path: Path, engine: Engine) -> None:
    """Bring the database to `schema.HEAD`, whatever other processes do at the same time."""
    try:
        with engine.connect() as connection:
            if _revision(connection) == schema.HEAD:
                return
    except OperationalError:
        # Two first openings at once: switching to WAL is refused while the other one does it.
        engine.dispose()
    with _locked(path.with_name(path.name + ".lock")), engine.begin() as connection:
        revision = _revision(connection)
        if revision == schema.HEAD:
            return
        if revision is None:
            schema.create(connection)
        elif revision in schema.KNOWN:
            migrate(connection)
        else:
            raise OvernightError(
                f"The database {path} was written by a newer version of Overnight (schema {revision}).",
                "Update Overnight, or choose another data directory.",
            )


def _revision(connection: Connection) -> str | None:
    """Return the revision that the database stands at, None for an empty one."""
    table = connection.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")).first()
    if table is None:
        return None
    return connection.execute(select(schema.alembic_version.c.version_num)).scalar()


def migrate(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to `revision` on `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the file lock at `path`; the system gives it up if the process dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
