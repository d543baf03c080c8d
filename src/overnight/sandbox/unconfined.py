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
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from math import ceil, inf
from pathlib import Path

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.interface import Command, CommandResult, OnOutput, SandboxSpec
from overnight.sandbox.pipes import Pipes
from overnight.sandbox.running import Going, Reins, begin, end
from overnight.sandbox.stillness import held_still
from overnight.sandbox.watch import Watch, outcome, written_directories

_MARK = "OVERNIGHT_COMMAND"
"""The variable by which children are found that left their parent's process group."""
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


class UnconfinedSandbox:
    """One workspace's commands, with a home directory of their own."""

    def __init__(self, spec: SandboxSpec, search: str) -> None:
        self._spec = spec
        self._search = search
        self._lock = asyncio.Lock()
        self._home: Path | None = None
        self._marks: set[str] = set()
        self._going: set[Going] = set()

    async def run(self, command: Command, on_output: OnOutput | None = None) -> CommandResult:
        """Run `command` to its end or to a limit; see `Sandbox.run`."""
        async with self._lock:
            return await self._run(command, on_output)

    async def start(self, command: Command, on_output: OnOutput | None = None) -> Going:
        """Start `command` and return at once; see `Sandbox.start`."""
        going = await begin(lambda begun: self._run(command, on_output, begun))
        self._going.add(going)
        return going

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process that was started here for as long as the context lasts."""
        return held_still(lambda: [process for mark in self._marks for process in _marked(mark)])

    async def close(self) -> None:
        """Wait for the running command, if there is one, end what was started, and remove the home."""
        await end(self._going)
        async with self._lock:
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
            _MARK: mark,
        }

    async def _run(
        self,
        command: Command,
        on_output: OnOutput | None,
        begun: "asyncio.Future[Reins] | None" = None,
    ) -> CommandResult:
        mark = uuid.uuid4().hex
        self._marks.add(mark)
        try:
            return await self._run_marked(command, on_output, mark, begun)
        finally:
            self._marks.discard(mark)

    async def _run_marked(
        self,
        command: Command,
        on_output: OnOutput | None,
        mark: str,
        begun: "asyncio.Future[Reins] | None",
    ) -> CommandResult:
        limits = self._spec.limits
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        started = time.monotonic()
        lasting = begun is not None
        with Pipes(
            command.stdin, None, limits.output_bytes, on_output, open_input=lasting,
            bytes_per_second=limits.output_bytes_per_second,
        ) as pipes:  # fmt: skip
            popen, failure = self._start(command, mark, pipes)
            if popen is None:
                return CommandResult(
                    exit_code=127, stdout=b"", stderr=failure.encode(), seconds=time.monotonic() - started
                )
            handle = os.pidfd_open(popen.pid)
            loop.add_reader(handle, ended.set)
            if begun is not None and not begun.done():
                begun.set_result(
                    Reins(write=pipes.write, ask=lambda: _ask(popen), kill=lambda: _kill(popen, mark))
                )
            try:
                seconds = inf if lasting else limits.command_seconds
                seconds = seconds if command.seconds is None else command.seconds
                watch = Watch(limits, seconds, pipes, written_directories(self._spec))
                await watch.until_end(ended, lambda: _kill(popen, mark), popen.pid)
                _kill(popen, mark)
                # A child that left group, session and environment behind may hold a pipe open for ever.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(pipes.drained(), _DRAIN_SECONDS)
            finally:
                loop.remove_reader(handle)
                os.close(handle)
                _kill(popen, mark)
            stopped = watch.limit is not None
            watch.judge(popen.returncode)
            code = -signal.SIGKILL if stopped else popen.returncode
            return outcome(self._spec, code, watch, pipes, started)

    def _bounds(self) -> str:
        """Return the shell words that bound the process and then become the command."""
        wanted = {
            "-f": (resource.RLIMIT_FSIZE, self._spec.limits.file_bytes, 1024),
            "-n": (resource.RLIMIT_NOFILE, self._spec.limits.open_files, 1),
            "-t": (resource.RLIMIT_CPU, ceil(self._spec.limits.cpu_seconds) + 1, 1),
        }
        words = ["ulimit -c 0"]
        for option, (kind, value, unit) in wanted.items():
            hard = resource.getrlimit(kind)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            words.append(f"ulimit {option} {bound // unit}")
        return "; ".join((*words, 'exec "$@"'))

    def _start(self, command: Command, mark: str, pipes: Pipes) -> tuple[subprocess.Popen[bytes] | None, str]:
        """Return the started process, or None and the reason as a shell would say it."""
        directory = os.path.normpath(os.path.join(self._spec.upper, command.directory))  # noqa: PTH118
        argv = command.argv or ("/bin/bash", "-c", command.script)
        try:
            popen = subprocess.Popen(
                ["/bin/bash", "-c", self._bounds(), "bash", *argv],
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


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{_MARK}={mark}".encode()
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    yield int(name)


def _ask(popen: subprocess.Popen[bytes]) -> None:
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGTERM)


def _kill(popen: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the process, its group and all that carry the mark, until none is left (at most some rounds)."""
    if popen.returncode is None:  # the number may be another's once it is reaped
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()
    for _ in range(50):
        survivors = list(_marked(mark))
        if not survivors:
            return
        for process in survivors:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.002)
