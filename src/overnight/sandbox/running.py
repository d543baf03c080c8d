"""Commands that go on while others run, and the sandboxes whose commands are tasks of this process."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from math import inf

import msgspec

from overnight.sandbox.interface import Command, CommandResult, OnOutput, SandboxSpec


class Reins(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done to a command while it runs."""

    write: Callable[[bytes], Awaitable[None]]
    ask: Callable[[], None]
    """Ask its process group to end (SIGTERM)."""
    kill: Callable[[], None]


class Going:
    """A started command: see `Running`.

    Args:
        work: ends with the command's result; cancelling it kills the command.
        reins: None when the command ended before it began, such as for a missing program.
    """

    def __init__(self, work: asyncio.Task[CommandResult], reins: Reins | None) -> None:
        self.work = work
        self._reins = reins

    async def write(self, data: bytes) -> None:
        """Put bytes into its standard input; does nothing once it ended."""
        if self._reins is not None and not self.work.done():
            await self._reins.write(data)

    async def wait(self) -> CommandResult:
        """Return how it ended. Cancelling the waiting task leaves it running."""
        return await asyncio.shield(self.work)

    async def stop(self, grace: float = 2.0) -> CommandResult:
        """Ask its process group to end, kill it after `grace` seconds, and return how it ended."""
        if self._reins is not None and not self.work.done():
            self._reins.ask()
            await asyncio.wait({self.work}, timeout=grace)
            if not self.work.done():
                self._reins.kill()
        return await self.wait()


class LocalSandbox(ABC):
    """A sandbox of this machine: every command is a task of this process, and ends with it. See `Sandbox`.

    Args:
        spec: what it is made of.
        side_by_side: whether commands that are waited for may run at the same time; else they take turns.
            Commands that are started always run beside others.
    """

    def __init__(self, spec: SandboxSpec, *, side_by_side: bool = False) -> None:
        self._spec = spec
        self._turn = contextlib.nullcontext() if side_by_side else asyncio.Lock()
        self._going: set[Going] = set()
        self._texts: list[str] = []
        """The commands that run now, as a person would type them."""

    async def run(self, command: Command, on_output: OnOutput | None = None) -> CommandResult:
        """Run `command` to its end or to a limit; see `Sandbox.run`."""
        async with self._turn:
            return await self._announced(command, on_output, None)

    async def start(self, command: Command, on_output: OnOutput | None = None) -> Going:
        """Start `command` and return at once; see `Sandbox.start`."""
        going = await _begin(lambda begun: self._announced(command, on_output, begun))
        self._going.add(going)
        going.work.add_done_callback(lambda _: self._going.discard(going))
        return going

    async def close(self) -> None:
        """Wait for the command that is waited for, end what was started, and give back what it took."""
        await _end_all(self._going)
        try:
            async with self._turn:
                await self._shut()
        finally:
            if self._spec.egress is not None:
                await self._spec.egress.close()

    @abstractmethod
    async def _carry_out(
        self, command: Command, on_output: OnOutput | None, begun: "asyncio.Future[Reins] | None"
    ) -> CommandResult:
        """Run `command` to its end; where nobody waits for it, `begun` takes the reins once it runs."""

    @abstractmethod
    async def _shut(self) -> None:
        """End everything that still runs inside, and leave nothing of the sandbox."""

    def _seconds(self, command: Command, *, waited_for: bool) -> float:
        """Return the bound on the command's wall time; one that nobody waits for has it only if given."""
        if command.seconds is not None:
            return command.seconds
        return self._spec.limits.command_seconds if waited_for else inf

    @property
    def _alone(self) -> bool:
        """Whether the command that asks is the only one that runs."""
        return len(self._texts) == 1

    async def _announced(
        self, command: Command, on_output: OnOutput | None, begun: "asyncio.Future[Reins] | None"
    ) -> CommandResult:
        """Carry out `command`, telling who answers on the network which command runs."""
        self._texts.append(command.text)
        self._announce()
        try:
            return await self._carry_out(command, on_output, begun)
        finally:
            self._texts.remove(command.text)
            self._announce()

    def _announce(self) -> None:
        if self._spec.egress is not None:
            self._spec.egress.asking(self._texts[-1] if self._texts else "")


async def _begin(work: Callable[["asyncio.Future[Reins]"], Awaitable[CommandResult]]) -> Going:
    """Start `work` as a task and return once it told its future how to hold the command, or ended."""
    begun: asyncio.Future[Reins] = asyncio.get_running_loop().create_future()

    async def run() -> CommandResult:
        return await work(begun)

    task = asyncio.create_task(run())
    try:
        await asyncio.wait({task, begun}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    if begun.done():
        return Going(task, begun.result())
    await task  # raises why it could not begin
    return Going(task, None)


async def _end_all(goings: set[Going]) -> None:
    """Kill those commands and forget them."""
    tasks = {going.work for going in goings}
    goings.clear()
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
