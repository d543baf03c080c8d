"""A command that goes on while others run, for backends whose commands are tasks of this process."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from overnight.sandbox.interface import CommandResult


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


async def begin(
    work: Callable[["asyncio.Future[Reins]"], Awaitable[CommandResult]],
) -> Going:
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


async def end(goings: set[Going]) -> None:
    """Kill those commands and forget them."""
    tasks = {going.work for going in goings}
    goings.clear()
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
