"""What a low layer needs from above it, as protocols."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from overnight.domain.commands import Arrival
from overnight.domain.events import Event

T = TypeVar("T")


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


class Inbox(Protocol):
    """What people say to the agent while it works."""

    async def arrived(self) -> tuple[Arrival, ...]:
        """Return what the agent has not been told yet, oldest first; each is accepted by being returned.

        The receipt is a `MessageAdded` with the arrival's id in a step that ends: what has none is returned
        again to whoever takes the attempt up after a crash, and only then.
        """
        ...


class Silence:
    """An inbox that nobody writes to."""

    async def arrived(self) -> tuple[Arrival, ...]:
        """Return nothing."""
        return ()


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


class Redaction(Protocol):
    """Takes the values of secrets out of what is kept. One object an attempt: output comes in pieces."""

    def clean(self, text: str) -> str:
        """Return `text` with a name in place of every value, however it is spelled."""
        ...

    def value(self, value: T) -> T:
        """Return a structure with every text in it cleaned."""
        ...

    def found_in(self, content: bytes) -> str | None:
        """Return the name of a secret whose value stands in `content`, None if none does."""
        ...

    def event(self, event: Event) -> Sequence[Event]:
        """Return what of `event` may be kept now, behind what was held back before it.

        The end of an output is held back while it may be the beginning of a value.
        """
        ...

    def rest(self) -> Sequence[Event]:
        """Return what is still held back: no more will come."""
        ...


class LentSecrets(Protocol):
    """What a person lends to the setup of one commit."""

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions lent: another one means another snapshot."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """The values, by name, for setup commands alone."""
        ...

    @property
    def searched(self) -> bool:
        """Whether there is any value that setup could leave behind."""
        ...

    def found_in(self, content: bytes) -> str | None:
        """Return the name of a secret whose value stands in `content`, None if none does."""
        ...


class Artifacts(Protocol):
    """Keeps what is too long for a log, by the digest of its content, without the values of secrets."""

    def put(self, content: bytes) -> str:
        """Keep `content` and return its digest.

        Raises:
            OvernightError: it cannot be kept.
        """
        ...

    def get(self, digest: str) -> bytes:
        """Return what was kept.

        Raises:
            NotFoundError: it is not there any more.
        """
        ...
