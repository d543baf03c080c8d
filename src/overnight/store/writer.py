"""The one writing thread: queued transactions share a commit, so that a durable write stays cheap."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from overnight.domain.errors import ConflictError

T = TypeVar("T")
Work = Callable[[Connection], Any]

GROUP = 200
"""Transactions that share one commit at most."""
PATIENCE = 60.0
"""Seconds to go on trying while other processes hold the database."""


class _Item:
    """A transaction in the queue, and where its result goes."""

    __slots__ = ("error", "future", "loop", "result", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def deliver(self) -> None:
        """Hand the outcome to the waiting task, if it still waits."""
        try:
            self.loop.call_soon_threadsafe(self._settle)
        except RuntimeError:
            # The loop is closed: the process is going down and nobody waits any more.
            return

    def _settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Runs transactions one after the other in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="overnight-store", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and return its result once it is durable.

        `work` may run more than once. Cancelling the caller does not undo what was queued.
        """
        if self._closed:
            raise ConflictError("The database is closed.", "Open it again.")
        item = _Item(work)
        self._queue.put(item)
        return await item.future

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        going = True
        with self._engine.connect() as connection:
            while going:
                batch, going = self._take()
                if not batch:
                    continue
                try:
                    _commit(connection, batch)
                except Exception as error:  # whoever waits must hear of it
                    for item in batch:
                        item.error = error
                for item in batch:
                    item.deliver()

    def _take(self) -> tuple[list[_Item], bool]:
        """Wait for one transaction and take along whatever else is queued by now."""
        batch: list[_Item] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == GROUP:
                break
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
        return batch, item is not None


def _commit(connection: Connection, batch: list[_Item]) -> None:
    """Run `batch` in one transaction, each item in a savepoint; begin again while the database is busy."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with connection.begin():
                for item in batch:
                    _run_one(connection, item)
            return
        except DBAPIError as error:
            if not is_busy(error):
                raise
            if time.monotonic() > deadline:
                raise ConflictError(
                    "The database is busy: another process holds it.",
                    "See which other `overnight` processes run, and try again.",
                ) from error
            time.sleep(0.01)


def _run_one(connection: Connection, item: _Item) -> None:
    """Run one item; its failure undoes its own changes only."""
    item.result, item.error = None, None
    savepoint = connection.begin_nested()
    try:
        item.result = item.work(connection)
    except Exception as error:
        # An engine error such as a full disk may have ended the whole transaction already.
        if not connection.in_nested_transaction() or is_busy(error) or not _alive(connection):
            raise
        savepoint.rollback()
        item.error = error
    else:
        savepoint.commit()


def _alive(connection: Connection) -> bool:
    """Say whether SQLite still has the transaction open."""
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", False))


def is_busy(error: BaseException) -> bool:
    """Say whether `error` means that another process holds the database for now."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(original, sqlite3.OperationalError):
        return False
    return original.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
