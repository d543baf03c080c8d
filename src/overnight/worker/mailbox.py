"""What people said to the agent of one attempt: read from the store, accepted in the log, handed over."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from overnight.domain.commands import ARRIVALS, Arrival, Command
from overnight.domain.events import CommandAccepted
from overnight.events.writer import LogWriter
from overnight.store import commands
from overnight.worker.engine import Engine


class Mailbox:
    """An `Inbox` over the attempt's commands. `untold` is what was accepted, and lost with a worker."""

    def __init__(
        self, engine: Engine, attempt_id: str, events: LogWriter, untold: Sequence[Arrival] = ()
    ) -> None:
        self._engine = engine
        self._attempt_id = attempt_id
        self._events = events
        self._untold = tuple(untold)

    async def arrived(self) -> tuple[Arrival, ...]:
        """Accept what is pending, durably, and return it behind what was not told before."""
        untold, self._untold = self._untold, ()
        fresh = await self._engine.database.read(
            lambda conn: commands.pending(conn, self._attempt_id, ARRIVALS)
        )
        arrivals: list[Arrival] = []
        for command in fresh:
            if command.kind in ARRIVALS:
                accept(self._engine, self._events, command)
                arrivals.append(Arrival(id=command.id, kind=command.kind, text=command.text))
        if arrivals:
            await self._events.flush()
        return (*untold, *arrivals)

    async def empty(self) -> bool:
        """Say whether nothing is left for the agent to be told."""
        if self._untold:
            return False
        return not await self._engine.database.read(
            lambda conn: commands.pending(conn, self._attempt_id, ARRIVALS)
        )


def accept(engine: Engine, events: LogWriter, command: Command) -> None:
    """Record that a command has reached the attempt: row and event in one transaction."""
    event = CommandAccepted(command_id=command.id, kind=command.kind, text=command.text)
    events.emit_with(event, partial(settled, command_id=command.id, now=engine.clock.time()))


def settled(conn: Connection, command_id: str, now: float) -> None:
    """Mark a command accepted; to be done with the event that says so."""
    commands.settle(conn, command_id, "accepted", now)
