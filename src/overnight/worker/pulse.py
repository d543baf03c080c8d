"""A pulse in an attempt's log: while nothing else happens, a heartbeat says that it is alive."""

import asyncio
from types import TracebackType

from overnight.domain.events import (
    SERVICE,
    CommandEnded,
    CommandStarted,
    Event,
    Heartbeat,
    ModelWaiting,
    NetworkBlocked,
    StepStarted,
    UsageUpdated,
)
from overnight.domain.ports import EventSink
from overnight.domain.task import Usage

SILENCE_SECONDS = 10.0


class Pulse:
    """An event sink that adds a heartbeat after `SILENCE_SECONDS` without an event."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._spoke = asyncio.Event()
        self._waiting_for = ""
        self.usage = Usage()
        """What the agent said last of its usage."""
        self.blocked: list[NetworkBlocked] = []
        """What was refused of the network so far."""
        self._over = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Pulse":
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def emit(self, event: Event) -> None:
        """Pass the event on and remember what the attempt waits for now.

        What comes when the attempt's phases are over is dropped: its last event has been written.
        """
        if self._over:
            return
        match event:
            case NetworkBlocked():
                self.blocked.append(event)
            case CommandStarted() | CommandEnded() if event.command_id.startswith(SERVICE):
                pass  # it runs beside what the attempt waits for
            case CommandStarted():
                self._waiting_for = f"command: {event.command[:100]}"
            case StepStarted():
                self._waiting_for = "the model"
            case UsageUpdated():
                self.usage = event.usage
            case ModelWaiting():
                self._waiting_for = event.reason
            case CommandEnded():
                self._waiting_for = ""
            case _:
                pass
        self._spoke.set()
        self._events.emit(event)

    async def flush(self) -> None:
        """Return when everything emitted is on disk."""
        await self._events.flush()

    async def _beat(self) -> None:
        while True:
            self._spoke.clear()
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    await self._spoke.wait()
            except TimeoutError:
                self._events.emit(Heartbeat(waiting_for=self._waiting_for))
