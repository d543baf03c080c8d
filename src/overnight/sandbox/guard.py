"""Watches what runs in the background between commands, so that its bounds hold then too."""

import asyncio
from collections.abc import Callable
from math import inf

from overnight.sandbox.interface import SandboxSpec
from overnight.sandbox.watch import Counts, Watch, descendants, written_directories

_LOOK_SECONDS = 1.0
"""How often it is seen whether anything is left to be watched."""


class Guard:
    """Stands over one sandbox while no command does, which would be watched itself.

    Args:
        spec: says the bounds, and which directories count as disk.
    """

    def __init__(self, spec: SandboxSpec) -> None:
        self._spec = spec
        self._task: asyncio.Task[None] | None = None
        self._stopped = ""

    def stand(self, root: int, stop: Callable[[], None], counts: Counts | None) -> None:
        """Watch what runs below the process `root`, until nothing does; `stop` ends it at a bound."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(root, stop, counts))

    async def leave(self) -> str:
        """Watch no longer, and return what was stopped and why since the last time; empty when nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        said, self._stopped = self._stopped, ""
        return said

    async def _watch(self, root: int, stop: Callable[[], None], counts: Counts | None) -> None:
        ended = asyncio.Event()

        def end() -> None:
            self._stopped = f"What ran in the background was stopped: {watch.detail}"
            if self._spec.on_limit is not None and watch.limit is not None:
                self._spec.on_limit(watch.limit, self._stopped)
            stop()
            ended.set()

        watch = Watch(self._spec.limits, inf, None, written_directories(self._spec), counts)
        watching = asyncio.create_task(watch.until_end(ended, end, root))
        try:
            while not watching.done() and any(process != root for process in descendants(root)):
                await asyncio.wait({watching}, timeout=_LOOK_SECONDS)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
