"""No isolation, only when a person asks for it by name: commands as plain processes over a copy.

Time, output and survivors are still bounded; files, network and memory are not.
"""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from overnight.domain.errors import SandboxUnavailableError
from overnight.domain.process import process_started
from overnight.sandbox.interface import Command, CommandResult, OnOutput, SandboxSpec
from overnight.sandbox.pipes import Pipes
from overnight.sandbox.processes import MARK, carries, may_carry, resource_limits
from overnight.sandbox.running import LocalSandbox, Reins
from overnight.sandbox.stillness import held_still
from overnight.sandbox.watch import Watch, outcome, written_directories

_ULIMITS = {
    resource.RLIMIT_CORE: ("-c", 1024),
    resource.RLIMIT_FSIZE: ("-f", 1024),
    resource.RLIMIT_NOFILE: ("-n", 1),
    resource.RLIMIT_CPU: ("-t", 1),
}
"""The option of bash's `ulimit` for each bound, and the unit in which that takes it."""
_DRAIN_SECONDS = 2.0


class UnconfinedBackend:
    """Plain processes of the caller. `/workspace` does not exist: the directory is the copy itself.

    Args:
        search: the PATH that commands get.
    """

    name = "none"
    overlay = False
    lasting = False
    networks = frozenset({"none", "host"})
    owner: tuple[int, int] | None = None

    def __init__(self, search: str) -> None:
        self.search = search

    async def pin(self, image: str) -> str:
        """Return nothing: commands run the host's own programs."""
        return ""

    def open(self, spec: SandboxSpec) -> "UnconfinedSandbox":
        """Return a sandbox over the copied workspace `spec.upper`.

        Raises:
            SandboxUnavailableError: the workspace is an overlay, which needs namespaces.
        """
        if spec.lower:
            raise SandboxUnavailableError("Without namespaces a workspace must be a copy, not an overlay.")
        return UnconfinedSandbox(spec, self.search)


class UnconfinedSandbox(LocalSandbox):
    """One workspace's commands, with a home directory of their own."""

    def __init__(self, spec: SandboxSpec, search: str) -> None:
        super().__init__(spec)
        self._search = search
        self._home: Path | None = None
        self._marks: set[str] = set()

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process that was started here for as long as the context lasts."""
        return held_still(lambda: [process for mark in self._marks for process in _marked(mark)])

    async def _shut(self) -> None:
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def _variables(self, command: Command, mark: str) -> dict[str, str]:
        if self._home is None:
            self._home = Path(tempfile.mkdtemp(prefix="overnight-home-"))
        return {
            "LANG": "C.UTF-8",
            "PATH": ":".join((*self._spec.path, self._search)),
            "HOME": str(self._home),
            "SHELL": "/bin/bash",
            "TERM": "dumb",
            **self._spec.variables,
            **command.variables,
            MARK: mark,
        }

    async def _carry_out(
        self, command: Command, on_output: OnOutput | None, begun: "asyncio.Future[Reins] | None"
    ) -> CommandResult:
        mark = uuid.uuid4().hex
        self._marks.add(mark)
        try:
            return await self._run_marked(command, on_output, mark, begun)
        finally:
            self._marks.discard(mark)

    async def _run_marked(
        self, command: Command, on_output: OnOutput | None, mark: str, begun: "asyncio.Future[Reins] | None"
    ) -> CommandResult:
        limits = self._spec.limits
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        started = time.monotonic()
        with Pipes(
            command.stdin, None, limits.output_bytes, on_output, open_input=begun is not None,
            bytes_per_second=limits.output_bytes_per_second,
        ) as pipes:  # fmt: skip
            popen, failure = self._start(command, mark, pipes)
            if popen is None:
                return CommandResult(
                    exit_code=127, stdout=b"", stderr=failure.encode(), seconds=time.monotonic() - started
                )
            since = int(process_started(popen.pid) or 0)
            handle = os.pidfd_open(popen.pid)
            loop.add_reader(handle, ended.set)
            if begun is not None and not begun.done():
                begun.set_result(
                    Reins(write=pipes.write, ask=lambda: _ask(popen), kill=lambda: _kill(popen, mark, since))
                )
            try:
                seconds = self._seconds(command, waited_for=begun is None)
                watch = Watch(limits, seconds, pipes, written_directories(self._spec))
                await watch.until_end(ended, lambda: _kill(popen, mark, since), popen.pid)
                _kill(popen, mark, since)
                # A child that left group, session and environment behind may hold a pipe open for ever.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(pipes.drained(), _DRAIN_SECONDS)
            finally:
                loop.remove_reader(handle)
                os.close(handle)
                _kill(popen, mark, since)
            stopped = watch.limit is not None
            watch.judge(popen.returncode)
            code = -signal.SIGKILL if stopped else popen.returncode
            return outcome(self._spec, code, watch, pipes, started)

    def _bounds(self) -> str:
        """Return the shell words that bound the process and then become the command."""
        bounds = resource_limits(self._spec.limits)
        words = [f"ulimit {option} {bounds[kind] // unit}" for kind, (option, unit) in _ULIMITS.items()]
        return "; ".join((*words, 'exec "$@"'))

    def _start(self, command: Command, mark: str, pipes: Pipes) -> tuple[subprocess.Popen[bytes] | None, str]:
        """Return the started process, or None and the reason as a shell would say it."""
        directory = command.folder(str(self._spec.upper))
        try:
            popen = subprocess.Popen(
                ["/bin/bash", "-c", self._bounds(), "bash", *command.words],
                stdin=pipes.stdin_end,
                stdout=pipes.stdout_end,
                stderr=pipes.stderr_end,
                cwd=directory,
                env=self._variables(command, mark),
                start_new_session=True,
            )
        except OSError as error:
            return None, f"{directory}: {error.strerror}\n"
        finally:
            pipes.close_child_ends()
        return popen, ""


def _marked(mark: str) -> list[int]:
    """Return the processes of this machine that a command with that mark left."""
    names = os.listdir("/proc")  # noqa: PTH208
    return [int(name) for name in names if name.isdigit() and carries(int(name), mark)]


def _ask(popen: subprocess.Popen[bytes]) -> None:
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGTERM)


def _kill(popen: subprocess.Popen[bytes], mark: str, since: int) -> None:
    """Kill the process, its group and all that carry the mark, until none is left (at most some rounds).

    `since` is when the command began: what is as young and executes a program carries nothing for a moment.
    """
    if popen.returncode is None:  # the number may be another's once it is reaped
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()
    for _ in range(50):
        # Each is looked at once: between two looks it could turn from what cannot be told into another.
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
        found = {process: may_carry(process, mark, since) for process in processes}
        survivors = [process for process, carrying in found.items() if carrying]
        if not survivors and None not in found.values():
            return
        for process in survivors:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.002)
