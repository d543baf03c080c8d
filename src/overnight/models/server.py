"""The client's side of the model server: find it, start it when there is none, wait while it loads."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from overnight.domain.errors import ModelUnavailableError
from overnight.domain.process import process_started
from overnight.models.interface import OnWaiting
from overnight.models.locks import take_lock
from overnight.models.server_files import (
    LOG_BYTES,
    ServerFiles,
    ServerParameters,
    ServerState,
)

STARTS = 3
"""Servers that end while loading before a client gives up."""
POLL_SECONDS = 0.05
COMMAND = (sys.executable, "-P", "-m", "overnight.models.server_process")


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a server stands, for `model list`."""

    running: bool
    ready: bool = False
    pid: int = 0
    url: str = ""


class ModelServer:
    """The one server that all processes of this user share for one set of parameters."""

    def __init__(self, cache: Path, parameters: ServerParameters, command: Sequence[str] = COMMAND) -> None:
        self.parameters = parameters
        self.files = ServerFiles.for_parameters(cache, parameters)
        self._command = tuple(command)
        self._presence: IO[bytes] | None = None

    async def endpoint(self, on_waiting: OnWaiting | None = None) -> ServerState:
        """Return a server that is ready, starting one where there is none.

        Raises:
            ModelUnavailableError: the server ends while it loads, again and again.
        """
        self.files.prepare()
        starts = 0
        told = False
        while True:
            self._announce()
            alive = self.files.alive()
            state = self.files.read_state() if alive else None
            if state is not None and state.url:
                self.files.touch_used()
                return state
            if on_waiting is not None and not told:
                on_waiting("loading the model")
                told = True
            if not alive:
                if starts == STARTS:
                    raise self._failure()
                starts += await self._start()
            await asyncio.sleep(POLL_SECONDS)

    def status(self) -> ServerStatus:
        """Tell how the server stands, without starting it."""
        state = self.files.read_state() if self.files.alive() else None
        if state is None:
            return ServerStatus(running=False)
        return ServerStatus(running=True, ready=bool(state.url), pid=state.pid, url=state.url)

    async def stop(self) -> bool:
        """End the server if there is one, whoever uses it; their requests start another."""
        state = self.files.read_state() if self.files.alive() else None
        if state is None or process_started(state.pid) != state.process_started:
            return False
        os.kill(state.pid, signal.SIGTERM)
        for _ in range(100):
            if not self.files.alive():
                return True
            await asyncio.sleep(POLL_SECONDS)
        os.kill(state.pid, signal.SIGKILL)
        return True

    def close(self) -> None:
        """Tell the server that this client has gone."""
        if self._presence is not None:
            self._presence.close()
            self._presence = None

    def _announce(self) -> None:
        """Hold the clients' lock; the server never holds it for longer than an instant."""
        if self._presence is None:
            self._presence = take_lock(self.files.clients_lock, shared=True)

    async def _start(self) -> int:
        """Start a server unless somebody else is doing so; returns how many were started, 0 or 1."""
        lock = take_lock(self.files.start_lock)
        if lock is None:
            return 0
        with lock:
            if self.files.alive():
                return 0
            with self.files.log.open("ab", buffering=0) as log:
                if os.fstat(log.fileno()).st_size > LOG_BYTES:
                    os.ftruncate(log.fileno(), 0)
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(self.files.directory),
                    msgspec.json.encode(self.parameters).decode(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                )
            await process.wait()
            return 1

    def _failure(self) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"The model server ended while loading: {self.files.log_tail() or 'no reason given'}",
            f"Its log is {self.files.log}. Is there enough memory (about 2.5 GB)? "
            "Is the extra `embedded` installed (in Overnight's source folder: pip install '.[embedded]')?",
        )
