"""Where events go in a test that has no log."""

from overnight.domain.events import Event


class Sink:
    """Keeps the events that were emitted."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep `event`."""
        self.events.append(event)

    async def flush(self) -> None:
        """Do nothing: all is in memory."""
