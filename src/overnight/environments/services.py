"""Services and start commands of a recipe: up before anything else in a sandbox, gone with it."""

import asyncio
from collections.abc import Sequence

from overnight.domain.environment import Recipe, Service
from overnight.domain.errors import SetupError
from overnight.domain.events import (
    SERVICE,
    CommandEnded,
    CommandOutput,
    CommandStarted,
    LimitHit,
    Noted,
    PhaseChanged,
)
from overnight.domain.ids import new_id, short
from overnight.domain.ports import EventSink
from overnight.sandbox.interface import Command, CommandResult, Running, Sandbox, SandboxBackend, Stream

EVENT_BYTES = 64 * 1024
"""How much of a service's output becomes events; the rest is only kept for its last words."""
TAIL_BYTES = 2_000
ASK_SECONDS = 0.1
"""Between one question whether a service is ready and the next."""
OWN_FILE = "Fix it in the file that `overnight env detect` names, or write .overnight.toml."


class Serving:
    """The services of one sandbox. Closed before the sandbox is."""

    def __init__(self) -> None:
        self._watchers: list[asyncio.Task[None]] = []
        self._running: list[_Served] = []

    def add(self, served: "_Served") -> None:
        """Take a service that is ready, and say so in the log when it ends before the sandbox does."""
        self._running.append(served)
        self._watchers.append(asyncio.create_task(served.watch()))

    async def ended(self) -> None:
        """Wait until every service has ended by itself and that is in the log."""
        await asyncio.gather(*self._watchers)

    async def close(self) -> None:
        """Stop the services; their end is an event."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers.clear()
        await asyncio.gather(*(served.stop() for served in self._running))
        self._running.clear()


def names_of(recipe: Recipe, backend: SandboxBackend) -> tuple[str, ...]:
    """Return for people what `begin` would start."""
    served = tuple(f"service {service.name}" for service in recipe.services) if _serves(backend) else ()
    return (*served, *(f"start command {number}" for number, _ in enumerate(recipe.start, start=1)))


async def begin(recipe: Recipe, backend: SandboxBackend, sandbox: Sandbox, events: EventSink) -> Serving:
    """Start the recipe's services in a fresh sandbox, wait until they are ready, run its start commands.

    Where every command has a network of its own a service would be out of reach: that is said, and the
    start commands run without it.

    Raises:
        SetupError: a service ended or was not ready in time, or a start command failed.
    """
    serving = Serving()
    try:
        services = _within_reach(recipe.services, backend, events)
        for service in services:
            events.emit(PhaseChanged(phase="preparing", detail=f"service {service.name}"))
            serving.add(await _up(service, sandbox, events))
        for number, script in enumerate(recipe.start, start=1):
            await _run_start(number, script, sandbox, events)
    except BaseException:
        await serving.close()
        raise
    return serving


def _serves(backend: SandboxBackend) -> bool:
    # Without isolation every command is in the host's own network.
    return backend.lasting or backend.name == "none"


def _within_reach(
    services: Sequence[Service], backend: SandboxBackend, events: EventSink
) -> Sequence[Service]:
    if not services or _serves(backend):
        return services
    names = ", ".join(service.name for service in services)
    events.emit(
        Noted(
            text=f"services are not started ({names}): each command of the sandbox {backend.name!r} has a "
            "network of its own; --sandbox namespaces or container can serve them"
        )
    )
    return ()


class _Served:
    """One started service and what it said."""

    def __init__(self, service: Service, events: EventSink) -> None:
        self.service = service
        self.id = f"{SERVICE}{service.name}-{short(new_id())}"
        self.ended: asyncio.Task[CommandResult] | None = None
        self._events = events
        self._running: Running | None = None
        self._told = 0
        self._ended = False
        self._tail = bytearray()

    async def start(self, sandbox: Sandbox) -> None:
        """Start it and return at once."""
        service = self.service
        self._events.emit(CommandStarted(command_id=self.id, command=service.command, purpose="service"))
        command = Command(script=service.command, variables=service.variables)
        self._running = await sandbox.start(command, self._output)
        self.ended = asyncio.create_task(self._running.wait())

    def _output(self, stream: Stream, piece: bytes) -> None:
        self._tail.extend(piece)
        del self._tail[:-TAIL_BYTES]
        if self._told >= EVENT_BYTES:
            return
        self._told += len(piece)
        text = piece.decode("utf-8", "replace")
        if self._told >= EVENT_BYTES:
            text += f"\n(more than {EVENT_BYTES} bytes: what follows is left out)\n"
        self._events.emit(CommandOutput(command_id=self.id, stream=stream, text=text))

    def last_words(self) -> str:
        """Return the end of its output, as lines to put behind a message."""
        text = self._tail.decode("utf-8", "replace").strip()
        return f":\n{text}" if text else " and said nothing"

    async def watch(self) -> None:
        """Wait for an end that nobody asked for, and say so."""
        assert self.ended is not None
        result = await asyncio.shield(self.ended)
        self._tell_end(result)
        text = f"the service {self.service.name!r} ended (exit {result.exit_code}){self.last_words()}"
        self._events.emit(Noted(text=" ".join(text.split())))

    def _tell_end(self, result: CommandResult) -> None:
        if self._ended:
            return
        self._ended = True
        if result.limit is not None:
            self._events.emit(LimitHit(limit=result.limit, detail=f"service {self.service.name}"))
        self._events.emit(
            CommandEnded(
                command_id=self.id, exit_code=result.exit_code, seconds=result.seconds, limit=result.limit
            )
        )

    async def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._running is None or self.ended is None:
            return
        if not self.ended.done():
            await self._running.stop()
        self._tell_end(await self.ended)

    async def failed(self, message: str) -> SetupError:
        """Return the error that it did not come up, with its last words, once it is stopped."""
        await self.stop()
        return SetupError(f"The service {self.service.name!r} {message}{self.last_words()}", OWN_FILE)


async def _up(service: Service, sandbox: Sandbox, events: EventSink) -> _Served:
    """Start a service and return it once it is ready."""
    served = _Served(service, events)
    await served.start(sandbox)
    try:
        await _until_ready(served, sandbox, events)
    except BaseException:
        await served.stop()
        raise
    return served


async def _until_ready(served: _Served, sandbox: Sandbox, events: EventSink) -> None:
    service = served.service
    assert served.ended is not None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + service.seconds
    while True:
        left = deadline - loop.time()
        if service.ready and left > 0:
            question = Command(script=service.ready, variables=service.variables, seconds=max(left, 0.1))
            answer = await sandbox.run(question)
            if answer.exit_code == 0 and not served.ended.done():
                return
        if not service.ready and not served.ended.done():
            # Nothing tells when it is up; at least it must not have ended at once.
            await asyncio.wait({served.ended}, timeout=ASK_SECONDS)
            if not served.ended.done():
                return
        if served.ended.done():
            result = served.ended.result()
            raise await served.failed(f"ended before it was ready (exit {result.exit_code})")
        if left <= 0:
            events.emit(LimitHit(limit=f"services.{service.name}.seconds", detail=f"{service.seconds:g} s"))
            raise await served.failed(f"was not ready after {service.seconds:g} s ({service.ready})")
        await asyncio.wait({served.ended}, timeout=ASK_SECONDS)


async def _run_start(number: int, script: str, sandbox: Sandbox, events: EventSink) -> None:
    name = f"start-{number}-{short(new_id())}"
    events.emit(CommandStarted(command_id=name, command=script, purpose="start"))
    tail = bytearray()

    def output(stream: Stream, piece: bytes) -> None:
        tail.extend(piece)
        del tail[:-TAIL_BYTES]
        events.emit(CommandOutput(command_id=name, stream=stream, text=piece.decode("utf-8", "replace")))

    result = await sandbox.run(Command(script=script), output)
    events.emit(
        CommandEnded(command_id=name, exit_code=result.exit_code, seconds=result.seconds, limit=result.limit)
    )
    if result.limit is not None:
        events.emit(LimitHit(limit=result.limit, detail=f"start: {script[:80]}"))
    if result.exit_code != 0 or result.limit is not None:
        why = f"stopped by the limit {result.limit}" if result.limit else f"exit {result.exit_code}"
        said = tail.decode("utf-8", "replace").strip()
        raise SetupError(
            f"A start command failed ({why}): {script}" + (f"\n{said}" if said else ""),
            f"{OWN_FILE} There, `start = []` means that nothing is started.",
        )
