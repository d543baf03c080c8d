"""Commands that go on while the agent does other things: their names, their output since the last look."""

import asyncio

from overnight.domain.errors import OvernightError
from overnight.domain.events import CommandEnded, CommandOutput, CommandStarted, LimitHit, WentToBackground
from overnight.domain.ids import new_id, short
from overnight.domain.limits import Limits
from overnight.domain.ports import EventSink
from overnight.sandbox.interface import Command, CommandResult, Running, Sandbox, Stream
from overnight.sandbox.output import Kept

STOP_SECONDS = 2.0
"""How long a command may take to end by itself when it is stopped."""


class Ongoing:
    """One command that was started; its output is kept, bounded, until somebody looks at it."""

    def __init__(self, command: Command, command_id: str, output_bytes: int) -> None:
        self.command = command
        self.command_id = command_id
        self.name = ""
        """How the agent calls it once it is in the background."""
        self._output_bytes = output_bytes
        self._unread = Kept(output_bytes)
        self.running: Running | None = None
        self.ended: asyncio.Task[CommandResult] | None = None

    def add(self, data: bytes) -> None:
        """Take output that nobody has seen yet."""
        self._unread.add(data)

    def take(self) -> str:
        """Return the output since the last time."""
        unread, self._unread = self._unread, Kept(self._output_bytes)
        return unread.value().decode("utf-8", "replace")

    @property
    def result(self) -> CommandResult | None:
        """How it ended; None while it runs."""
        return self.ended.result() if self.ended is not None and self.ended.done() else None

    async def wait(self, seconds: float) -> None:
        """Return when it ended, or after so many seconds."""
        if self.ended is not None:
            await asyncio.wait({self.ended}, timeout=seconds)


class Background:
    """The started commands of one attempt."""

    def __init__(self, sandbox: Sandbox, events: EventSink, limits: Limits) -> None:
        self._sandbox = sandbox
        self._events = events
        self._limits = limits
        self._started: set[Ongoing] = set()
        self._named: dict[str, Ongoing] = {}
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether as many run as may; that is recorded."""
        running = sum(one.result is None for one in self._started)
        if running < self._limits.background_commands:
            return False
        self._events.emit(LimitHit(limit="background_commands", detail=f"{running} are running"))
        return True

    async def start(self, command: Command) -> Ongoing:
        """Start a command."""
        one = Ongoing(command, short(new_id()), self._limits.output_bytes)
        self._events.emit(CommandStarted(command_id=one.command_id, command=command.text))

        def on_output(stream: Stream, data: bytes) -> None:
            one.add(data)
            text = data.decode("utf-8", "replace")
            self._events.emit(CommandOutput(command_id=one.command_id, stream=stream, text=text))

        one.running = await self._sandbox.start(command, on_output)
        one.ended = asyncio.create_task(self._see_end(one, one.running))
        self._started.add(one)
        return one

    def name(self, one: Ongoing) -> str:
        """Let a command go on in the background and return its name there."""
        self._count += 1
        one.name = f"b{self._count}"
        self._named[one.name] = one
        self._events.emit(WentToBackground(command_id=one.command_id, name=one.name))
        return one.name

    def find(self, name: str) -> Ongoing | None:
        """Return the command of that name."""
        return self._named.get(name)

    def all(self) -> list[Ongoing]:
        """Return those in the background, oldest first."""
        return list(self._named.values())

    def forget(self, one: Ongoing) -> None:
        """Drop a command that has ended and whose end was told."""
        self._started.discard(one)
        self._named.pop(one.name, None)

    def count_on(self, names: int) -> None:
        """Go on naming behind so many earlier ones."""
        self._count = max(self._count, names)

    async def close(self) -> None:
        """Stop what still runs, and see the ends recorded."""
        left = [one for one in self._started if one.result is None and one.running is not None]
        await asyncio.gather(
            *(one.running.stop(STOP_SECONDS) for one in left if one.running is not None),
            *(one.ended for one in left if one.ended is not None),
            return_exceptions=True,
        )
        self._started.clear()
        self._named.clear()

    async def _see_end(self, one: Ongoing, running: Running) -> CommandResult:
        try:
            result = await running.wait()
        except OvernightError as error:
            # The sandbox itself went away under it.
            result = CommandResult(
                exit_code=-9, stdout=b"", stderr=error.message.encode(), seconds=0.0, detail=error.message
            )
        self._events.emit(
            CommandEnded(
                command_id=one.command_id,
                exit_code=result.exit_code,
                seconds=round(result.seconds, 3),
                limit=result.limit,
            )
        )
        if result.limit is not None:
            self._events.emit(LimitHit(limit=result.limit, detail=one.command.text[:200]))
        return result
