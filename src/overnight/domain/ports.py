"""What a low layer needs from above it, as protocols."""

import time
from typing import Protocol

from overnight.domain.events import Event


class EventSink(Protocol):
    """Takes the facts of one attempt, in order. Called from the event loop; never blocks."""

    def emit(self, event: Event) -> None:
        """Add `event` to the log soon."""
        ...

    async def flush(self) -> None:
        """Return when everything emitted so far is on disk.

        Raises:
            StaleLeaseError: another worker holds the attempt.
        """
        ...


class Clock(Protocol):
    """Time, as a value that tests can own."""

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()
