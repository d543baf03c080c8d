"""The event log: append, read, follow. One row holds a chunk of events; a head row fences off old writers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from sqlalchemy import Connection, delete, func, insert, select, update

from overnight.domain.errors import StaleLeaseError
from overnight.domain.events import AttemptEnded, AttemptWaiting, Event, Recorded
from overnight.domain.ids import short
from overnight.domain.ports import Clock, Redaction
from overnight.events.chunk import compacted, decode, encode
from overnight.events.lineage import cut
from overnight.events.writer import LogWriter
from overnight.store import attempts
from overnight.store.database import Database, Work
from overnight.store.schema import chunks, heads

__all__ = ["EventLog", "LogWriter"]

POLL = 0.1
"""Seconds between looks for what another process wrote; within this process a nudge comes at once."""
PAGE = 64
"""Chunks that one query brings."""
RESTS = (AttemptEnded, AttemptWaiting)
"""Events after which nobody works on the attempt until a person says something."""


class EventLog:
    """The events of every attempt. Several may be open on one database, in several processes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._followers: dict[str, set[asyncio.Event]] = {}

    async def writer(self, attempt_id: str, epoch: int, redaction: Redaction | None = None) -> LogWriter:
        """Take the attempt's log over for the holder of lease `epoch`; earlier holders are shut out.

        Everything passes `redaction` before it is kept.

        Raises:
            StaleLeaseError: a holder of a later lease has taken it over already.
        """
        last = await self._database.tx(lambda connection: _take_over(connection, attempt_id, epoch))

        async def append(events: list[Recorded], along: list[Work]) -> None:
            await self._append(attempt_id, epoch, events, along)

        return LogWriter(append, self._clock, last, redaction)

    async def _append(self, attempt_id: str, epoch: int, events: list[Recorded], along: list[Work]) -> None:
        data = encode(events)
        first, last, at = events[0].seq, events[-1].seq, events[-1].at

        def work(connection: Connection) -> None:
            moved = connection.execute(
                update(heads)
                .where(
                    heads.c.attempt_id == attempt_id, heads.c.epoch == epoch, heads.c.last_seq == first - 1
                )
                .values(last_seq=last)
            )
            if moved.rowcount == 0:
                raise _stale(attempt_id)
            connection.execute(
                insert(chunks).values(
                    attempt_id=attempt_id, first_seq=first, last_seq=last, epoch=epoch, at=at, data=data
                )
            )
            for act in along:
                act(connection)

        await self._database.tx(work)
        self.wake(attempt_id)

    def wake(self, attempt_id: str) -> None:
        """Let followers in this process look at once, for events that `append_last` added."""
        for nudge in self._followers.get(attempt_id, ()):
            nudge.set()

    async def read(self, attempt_id: str, after: int = 0) -> AsyncIterator[Recorded]:
        """Yield what the log holds behind `after`, oldest first, and end."""
        while True:
            seen = after
            events = await self._database.read(lambda c, seen=seen: _page(c, attempt_id, seen))
            if not events:
                return
            for recorded in events:
                yield recorded
            after = events[-1].seq

    async def inherited(self, attempt_id: str) -> list[Event]:
        """Return the finished steps that a fork begins with: those of its origin, which may be a fork too.

        Nothing for an attempt that is no fork, or one of the start.

        Raises:
            NotFoundError: the origin's log has no such step (any more).
        """
        chain = [await self._database.read(lambda connection: attempts.get(connection, attempt_id))]
        while (origin := chain[-1].forked_from) is not None and chain[-1].fork_step:
            chain.append(
                await self._database.read(lambda connection, origin=origin: attempts.get(connection, origin))
            )
        events: list[Event] = []
        for origin, fork in zip(reversed(chain[1:]), reversed(chain[:-1]), strict=True):
            events += [item.event async for item in self.read(origin.id)]
            events = cut(events, fork.fork_step)
        return events

    async def lineage(self, attempt_id: str) -> list[Event]:
        """Return all that led to where the attempt stands: `inherited`, then its own events."""
        return [*await self.inherited(attempt_id), *[item.event async for item in self.read(attempt_id)]]

    async def follow(
        self,
        attempt_id: str,
        after: int = 0,
        stop: Callable[[], Awaitable[bool]] | None = None,
        awake: bool = False,
    ) -> AsyncIterator[Recorded]:
        """Yield what the log holds behind `after`, then what is added, as it comes.

        Ends when the last event says that the attempt ended or waits for a person, or, with what is there
        by then, when `stop` says so; it is asked whenever there is nothing left to read. With `awake` the
        attempt is about to go on, whatever the last event before `after` says.
        """
        nudge = asyncio.Event()
        followers = self._followers.setdefault(attempt_id, set())
        followers.add(nudge)
        try:
            last = await self.last(attempt_id) if after and not awake else None
            ended = last is not None and last.seq <= after and isinstance(last.event, RESTS)
            stopping = False
            while True:
                nudge.clear()
                async for recorded in self.read(attempt_id, after):
                    after = recorded.seq
                    ended = isinstance(recorded.event, RESTS)
                    yield recorded
                if ended or stopping:
                    return
                # What was written just before `stop` came true must still be read, hence one more round.
                stopping = stop is not None and await stop()
                if not stopping:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(nudge.wait(), POLL)
        finally:
            followers.discard(nudge)
            if not followers:
                self._followers.pop(attempt_id, None)

    async def last(self, attempt_id: str) -> Recorded | None:
        """Return the newest event, None for an empty log."""
        return await self._database.read(lambda connection: last_of(connection, attempt_id))

    async def last_seq(self, attempt_id: str) -> int:
        """Return the number of the newest event, 0 for an empty log."""
        query = select(heads.c.last_seq).where(heads.c.attempt_id == attempt_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar()) or 0

    async def compact(self, attempt_id: str) -> None:
        """Take the text of answers out of their deltas, once the turn is over: the messages hold it."""
        query = select(chunks.c.first_seq).where(chunks.c.attempt_id == attempt_id)
        found = await self._database.read(lambda connection: list(connection.execute(query).scalars()))
        for begin in range(0, len(found), PAGE):
            page = found[begin : begin + PAGE]
            await self._database.tx(lambda connection, page=page: _compact(connection, attempt_id, page))

    async def delete(self, attempt_id: str) -> None:
        """Forget the attempt's events; nobody may be writing them any more."""

        def work(connection: Connection) -> None:
            connection.execute(delete(chunks).where(chunks.c.attempt_id == attempt_id))
            connection.execute(delete(heads).where(heads.c.attempt_id == attempt_id))

        await self._database.tx(work)

    async def size(self, attempt_id: str | None = None) -> int:
        """Return the bytes that the chunks hold, of one attempt or of all."""
        query = select(func.coalesce(func.sum(func.length(chunks.c.data)), 0))
        if attempt_id is not None:
            query = query.where(chunks.c.attempt_id == attempt_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())


def last_of(connection: Connection, attempt_id: str) -> Recorded | None:
    """Return the newest event of an attempt, None for an empty log."""
    newest = select(chunks.c.data).where(chunks.c.attempt_id == attempt_id)
    data = connection.execute(newest.order_by(chunks.c.first_seq.desc()).limit(1)).scalar()
    return decode(data)[-1] if data is not None else None


def _compact(connection: Connection, attempt_id: str, first_seqs: list[int]) -> None:
    rows = (chunks.c.attempt_id == attempt_id, chunks.c.first_seq.in_(first_seqs))
    for row in connection.execute(select(chunks.c.first_seq, chunks.c.data).where(*rows)).all():
        smaller = compacted(row.data)
        if smaller is not None:
            connection.execute(
                update(chunks)
                .where(chunks.c.attempt_id == attempt_id, chunks.c.first_seq == row.first_seq)
                .values(data=smaller)
            )


def append_last(connection: Connection, attempt_id: str, epoch: int, event: Event, at: float) -> None:
    """Add `event` in the caller's transaction, for an attempt whose lease `epoch` the caller took away.

    Raises:
        StaleLeaseError: a holder of a later lease has taken the log over.
    """
    seq = _take_over(connection, attempt_id, epoch) + 1
    connection.execute(update(heads).where(heads.c.attempt_id == attempt_id).values(last_seq=seq))
    data = encode([Recorded(seq=seq, at=at, event=event)])
    connection.execute(
        insert(chunks).values(
            attempt_id=attempt_id, first_seq=seq, last_seq=seq, epoch=epoch, at=at, data=data
        )
    )


def _take_over(connection: Connection, attempt_id: str, epoch: int) -> int:
    """Set the head's epoch and return the last number written so far."""
    head = connection.execute(select(heads).where(heads.c.attempt_id == attempt_id)).first()
    if head is None:
        connection.execute(insert(heads).values(attempt_id=attempt_id, epoch=epoch, last_seq=0))
        return 0
    if head.epoch > epoch:
        raise _stale(attempt_id)
    connection.execute(update(heads).where(heads.c.attempt_id == attempt_id).values(epoch=epoch))
    return head.last_seq


def _page(connection: Connection, attempt_id: str, after: int) -> list[Recorded]:
    """Return the events of the next chunks behind `after`."""
    query = (
        select(chunks.c.data)
        .where(chunks.c.attempt_id == attempt_id, chunks.c.last_seq > after)
        .order_by(chunks.c.first_seq)
        .limit(PAGE)
    )
    found = (recorded for data in connection.execute(query).scalars() for recorded in decode(data))
    return [recorded for recorded in found if recorded.seq > after]


def _stale(attempt_id: str) -> StaleLeaseError:
    return StaleLeaseError(
        f"Another worker writes the log of attempt {short(attempt_id)} by now.",
        "Nothing of this one was added; see `overnight task logs`.",
    )
