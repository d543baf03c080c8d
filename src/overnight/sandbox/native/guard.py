"""Watches what runs in the background between commands, so that its bounds hold then too."""

import asyncio
from math import inf

from overnight.sandbox.interface import SandboxSpec
from overnight.sandbox.native.inside import Inside
from overnight.sandbox.watch import Counts, Watch, written_directories


class Guard:
    """Stands over one sandbox while no command that is waited for does.

    Args:
        spec: says the bounds, and which directories count as disk.
    """

    def __init__(self, spec: SandboxSpec) -> None:
        self._spec = spec
        self._task: asyncio.Task[None] | None = None
        self._stopped = ""

    def stand(self, inside: Inside, counts: Counts | None) -> None:
        """Watch from now on; a bound that is passed ends everything that runs inside."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(inside, counts))

    async def leave(self) -> str:
        """Watch no longer, and return what was stopped and why since the last time; empty when nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        said, self._stopped = self._stopped, ""
        return said

    async def _watch(self, inside: Inside, counts: Counts | None) -> None:
        ended = asyncio.Event()

        def stop() -> None:
            self._stopped = f"What ran in the background was stopped: {watch.detail}"
            if self._spec.on_limit is not None and watch.limit is not None:
                self._spec.on_limit(watch.limit, self._stopped)
            inside.kill_all()
            ended.set()

        watch = Watch(self._spec.limits, inf, None, written_directories(self._spec), counts)
        await watch.until_end(ended, stop, inside.pid)
