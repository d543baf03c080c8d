"""The writing end of one attempt's log: takes events without waiting and stores them in chunks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from overnight.domain.errors import OvernightError, StaleLeaseError
from overnight.domain.events import Event, Recorded
from overnight.domain.ports import Clock, Redaction
from overnight.store.database import Work

DELAY = 0.025
"""Seconds that an event waits for company at most."""
CHUNK_EVENTS = 500
CHUNK_CHARACTERS = 4 * 1024**2
"""A chunk ends early when its events' texts are this long together."""


class LogWriter:
    """An `EventSink`. Numbers are given on `emit`, without gaps, and end up on disk in that order.

    This is the one place that every event passes on its way to the disk, so it is here that the values of
    secrets are taken out. After an append failed, nothing more is stored: `flush` raises what happened, every
    time.
    """

    def __init__(
        self,
        append: Callable[[list[Recorded], list[Work]], Awaitable[None]],
        clock: Clock,
        last_seq: int,
        redaction: Redaction | None = None,
    ) -> None:
        self._append = append
        self._redaction = redaction
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._seq = last_seq
        self._stored = last_seq
        self._buffer: list[Recorded] = []
        self._along: dict[int, Work] = {}
        """By number: what is done in the transaction that stores that event."""
        self._timer: asyncio.TimerHandle | None = None
        self._storing: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._closed = False

    @property
    def last_seq(self) -> int:
        """The number of the newest event, stored or not."""
        return self._seq

    def emit(self, event: Event) -> None:
        """Add `event` to the log soon; dropped if the log can no longer be written (`flush` says why)."""
        if self._error is not None or self._closed:
            return
        for kept in (event,) if self._redaction is None else self._redaction.event(event):
            self._add(kept)

    def emit_with(self, event: Event, work: Work) -> None:
        """Add `event`, and do `work` in the very transaction that stores it: both happen, or neither."""
        self.emit(event)
        if self._error is None and not self._closed:
            self._along[self._seq] = work

    def last(self, events: Sequence[Event]) -> list[Event]:
        """Return the log's last events as they may be kept, for whoever stores them in a transaction."""
        return [*events] if self._redaction is None else [self._redaction.value(event) for event in events]

    def _add(self, event: Event) -> None:
        self._seq += 1
        self._buffer.append(Recorded(seq=self._seq, at=self._clock.time(), event=event))
        if len(self._buffer) >= CHUNK_EVENTS:
            self._start()
        elif self._timer is None and self._storing is None:
            self._timer = self._loop.call_later(DELAY, self._start)

    def release(self) -> None:
        """Add the ends of outputs that were held back, as nothing will follow them."""
        if self._redaction is not None and self._error is None and not self._closed:
            for kept in self._redaction.rest():
                self._add(kept)

    async def flush(self) -> None:
        """Return when everything emitted so far is on disk.

        Raises:
            StaleLeaseError: another worker holds the attempt.
            OvernightError: the log could not be written.
        """
        wanted = self._seq
        while self._error is None and self._stored < wanted:
            # Shielded: whoever gives up waiting must not tear a write that others wait for.
            await asyncio.shield(self._start())
        if isinstance(self._error, OvernightError):
            raise self._error
        if self._error is not None:
            raise OvernightError(
                f"The event log cannot be written: {self._error}.", "Look at the disk's free space."
            ) from self._error

    async def close(self) -> None:
        """Store what is left and take no more; raises what `flush` raises, but for a lost lease."""
        self.release()
        self._closed = True
        try:
            await self.flush()
        except StaleLeaseError:
            # The new holder's log is complete without us.
            return

    def _start(self) -> asyncio.Task[None]:
        """Begin to store what is buffered, unless that goes on already."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._storing is None or self._storing.done():
            self._storing = self._loop.create_task(self._store())
        return self._storing

    async def _store(self) -> None:
        try:
            while self._buffer:
                batch = self._next()
                along = [self._along[item.seq] for item in batch if item.seq in self._along]
                await self._append(batch, along)
                del self._buffer[: len(batch)]
                for item in batch:
                    self._along.pop(item.seq, None)
                self._stored = batch[-1].seq
        except Exception as error:  # kept for `flush`, which is where somebody listens
            self._error = error
            self._buffer.clear()
        finally:
            self._storing = None

    def _next(self) -> list[Recorded]:
        """Return the beginning of the buffer that makes up one chunk."""
        batch: list[Recorded] = []
        characters = 0
        for recorded in self._buffer[:CHUNK_EVENTS]:
            batch.append(recorded)
            characters += len(getattr(recorded.event, "text", ""))
            if characters >= CHUNK_CHARACTERS:
                break
        return batch
