"""One command in a running container: asked for by a pipe, its end and exit code told by another."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from overnight.sandbox.container.live import Live
from overnight.sandbox.container.streams import make_reading_end, write_for
from overnight.sandbox.interface import Command
from overnight.sandbox.processes import MARK, carries, exit_code

_GRACE_SECONDS = 5.0
"""How long PID 1 may take to kill a command before the whole container is killed."""


class Task:
    """A command with a number of its own."""

    def __init__(self, live: Live, number: int, owner: tuple[int, int] | None) -> None:
        self.ended = asyncio.Event()
        self.exit_code: int | None = None
        """None until PID 1 told it; minus a signal's number."""
        self._live = live
        self._number = number
        self._mark = f"{live.name}.{number}"
        self._loop = asyncio.get_running_loop()
        self._said = b""
        self._owner = owner
        self._exit: int | None = None
        self._watching: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._killed = False

    def begin(self, command: Command, variables: Mapping[str, str]) -> None:
        """Write down what to run and ask PID 1 for it."""
        given = [f"{name}={value}" for name, value in {**variables, MARK: self._mark}.items()]
        words = [command.folder(), str(len(given)), *given, *command.words]
        content = b"".join(os.fsencode(word) + b"\0" for word in words)
        write_for(self._path("words"), content, self._owner)
        self._exit = make_reading_end(self._path("exit"), self._owner)
        self._loop.add_reader(self._exit, self._on_exit)
        self._watching = asyncio.create_task(self._until_container_ends())
        self._live.request(f"run {self._number}")

    def _path(self, name: str) -> Path:
        return self._live.control / f"{self._number}.{name}"

    async def _until_container_ends(self) -> None:
        await self._live.ended.wait()
        self.ended.set()

    def _on_exit(self) -> None:
        assert self._exit is not None
        try:
            data = os.read(self._exit, 64)
        except BlockingIOError:
            return
        self._said += data
        if data and len(self._said) < 64 and not self._said.endswith(b"\n"):
            return
        self._loop.remove_reader(self._exit)
        text = self._said.strip()
        if text.isdigit() and len(text) <= 3:
            self.exit_code = exit_code(int(text))
        self.ended.set()

    def ask(self) -> None:
        """Ask its process group to end."""
        self._live.request(f"ask {self._number}")

    def kill(self) -> None:
        """Kill it and what it left behind; the whole container if it is not gone soon."""
        self._live.request(f"kill {self._number}")
        self._kill_marked()
        self._killed = True
        if self._later is None:
            self._later = self._loop.call_later(_GRACE_SECONDS, self._live.kill)

    def _kill_marked(self) -> bool:
        """Kill those inside that carry the mark; say whether there was one."""
        found = False
        for process in self._live.inside():
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(process)
                try:
                    if carries(process, self._mark):
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                        found = True
                finally:
                    os.close(handle)
        return found

    async def finish(self) -> None:
        """Make sure that it is gone, and forget it."""
        if not self.ended.is_set() and self._watching is not None:
            self.kill()
            await self.ended.wait()
        # At most until the timer kills the container.
        while self._killed and self._kill_marked():  # noqa: ASYNC110  the kernel tells nobody
            await asyncio.sleep(0.005)
        if self._later is not None:
            self._later.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._exit is not None:
            self._loop.remove_reader(self._exit)
            os.close(self._exit)
            self._exit = None
        self._live.request(f"forget {self._number}")
        for name in ("in", "out", "err", "words", "exit"):
            self._path(name).unlink(missing_ok=True)
