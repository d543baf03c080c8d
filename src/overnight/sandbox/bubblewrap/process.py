"""One run of bubblewrap: started, held back until its limits are on, killed with all that lives in it."""

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
from pathlib import Path

from overnight.domain.errors import SandboxUnavailableError
from overnight.domain.limits import Limits
from overnight.sandbox.bubblewrap.arguments import waiting_arguments
from overnight.sandbox.bubblewrap.orphans import process_name
from overnight.sandbox.cgroup import Cgroup
from overnight.sandbox.pipes import Pipes, memory_file
from overnight.sandbox.processes import exit_code, lower_limits
from overnight.sandbox.watch import descendants

_DYING_MILLISECONDS = 10_000
"""How long the last look at a dying process waits for it."""


class Process:
    """The process that we started, and the init of the pid namespace below it, which is our grandchild.

    Args:
        program: bubblewrap.
        arguments: what it builds the sandbox from.
        executed: what it then executes, before and after the wait for our word.
        seccomp: the system-call filter.
        pipes: the standard streams of the command.

    Raises:
        SandboxUnavailableError: it cannot be started.
    """

    def __init__(
        self, program: Path, arguments: list[str], executed: tuple[list[str], list[str]], seccomp: bytes,
        pipes: Pipes,
    ) -> None:  # fmt: skip
        self.ended = asyncio.Event()
        self.init: int | None = None
        """Pid of the namespace's init as the host sees it; all of the sandbox lives below it."""
        self.exit_code: int | None = None
        """None until the command itself ended, as far as bubblewrap could tell."""
        self.stopped = False
        self._loop = asyncio.get_running_loop()
        self._init_handle: int | None = None
        self._status = b""
        self._begun = asyncio.Event()
        self._status_read, status_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        block_read, self._block_write = os.pipe2(os.O_CLOEXEC)
        # Arguments go by a file descriptor: command lines are for all to read, inside and outside.
        given = memory_file(b"\0".join(os.fsencode(argument) for argument in arguments) + b"\0")
        # bubblewrap reads the filter to its end, so every start needs one with an offset of its own.
        filter_file = memory_file(seccomp)
        go_read, self._go_write = os.pipe2(os.O_CLOEXEC)
        passed = (status_write, block_read, given, filter_file, go_read)
        try:
            self._popen = subprocess.Popen(
                [
                    process_name(),
                    *("--json-status-fd", str(status_write)),
                    *("--block-fd", str(block_read)),
                    *("--seccomp", str(filter_file)),
                    *("--args", str(given)),
                    "--",
                    *executed[0],
                    *waiting_arguments(go_read),
                    *executed[1],
                ],
                executable=program,
                stdin=pipes.stdin_end,
                stdout=pipes.stdout_end,
                stderr=pipes.stderr_end,
                pass_fds=passed,
                env={},  # an empty environment: nothing of the host's in /proc/1/environ
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            )
            self._handle = os.pidfd_open(self._popen.pid)
        except OSError as error:
            os.close(self._status_read)
            os.close(self._block_write)
            os.close(self._go_write)
            raise SandboxUnavailableError(f"bubblewrap cannot be started: {error}") from error
        finally:
            for descriptor in passed:
                os.close(descriptor)
            pipes.close_child_ends()
        self._loop.add_reader(self._handle, self._on_end)
        self._loop.add_reader(self._status_read, self._on_status)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._handle)
        self.ended.set()
        self._begun.set()

    def _on_status(self) -> None:
        try:
            data = os.read(self._status_read, 65536)
        except BlockingIOError:
            return
        self._status += data
        if not data:
            self._loop.remove_reader(self._status_read)
        if not data or b"\n" in self._status:
            self._begun.set()

    async def begin(self, limits: Limits, cgroup: Cgroup | None, processes: int | None) -> None:
        """Wait until the namespaces stand, put the limits on, and let the command go.

        Args:
            processes: the bound on all processes of the command's user, if there is to be one.

        Raises:
            SandboxUnavailableError: the control group refuses the command.
        """
        await self._begun.wait()
        # One object a line: first the init's pid, at the end the exit code.
        first = self._status.split(b"\n", 1)[0]
        if not first:
            return  # bubblewrap failed before it made a process
        self.init = int(json.loads(first)["child-pid"])
        with contextlib.suppress(ProcessLookupError):
            self._init_handle = os.pidfd_open(self.init)
            lower_limits(self.init, limits, processes)
            if cgroup is not None:
                try:
                    cgroup.add(self.init)
                except ProcessLookupError:
                    raise
                except OSError as error:
                    raise SandboxUnavailableError(
                        f"The control group refuses the command: {error}"
                    ) from error
        with contextlib.suppress(BrokenPipeError):
            os.write(self._block_write, b"1")
            os.write(self._go_write, b"go\n")

    def stop(self) -> None:
        """Kill everything inside by decision of the caller, not for a limit."""
        self.stopped = True
        self.kill()

    def ask(self) -> None:
        """Ask what runs inside to end."""
        for process in descendants(self.init) if self.init is not None else ():
            if process != self.init:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)

    def kill(self) -> None:
        """Kill everything inside; the namespace's init takes all others with it."""
        for handle in (self._init_handle, self._handle):
            if handle is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)

    async def finish(self) -> None:
        """Make sure that nothing survives, reap, and learn the command's exit code.

        bubblewrap ends with the command, a moment before the children that the command left behind.
        """
        self.kill()
        if self._init_handle is not None:
            gone = asyncio.Event()
            self._loop.add_reader(self._init_handle, gone.set)
            await gone.wait()
            self._loop.remove_reader(self._init_handle)
        self._popen.wait()
        while True:
            try:
                data = os.read(self._status_read, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._status += data
        for line in self._status.splitlines():
            said = json.loads(line)
            if "exit-code" in said:
                self.exit_code = exit_code(int(said["exit-code"]))

    def destroy(self) -> None:
        """Kill, reap and close whatever is still there; does nothing after a clean end."""
        if self._popen.returncode is None:
            if self._init_handle is None:
                self._await_init()
            # The init shares our process group until the sandbox stands, and is not bound to us at once.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self.kill()
            self._popen.wait()
        if self._init_handle is not None:
            _await_input(self._init_handle)
        for handle in (self._handle, self._status_read, self._init_handle):
            if handle is not None:
                self._loop.remove_reader(handle)
                os.close(handle)
        os.close(self._block_write)
        os.close(self._go_write)

    def _await_init(self) -> None:
        """Learn who the init is, a millisecond after the start: only what is known can be waited for."""
        with contextlib.suppress(ProcessLookupError):
            while b"\n" not in self._status:  # bubblewrap writes the line piece by piece
                _await_input(self._status_read)
                try:
                    data = os.read(self._status_read, 65536)
                except BlockingIOError:
                    return
                if not data:
                    return
                self._status += data
            self.init = int(json.loads(self._status.split(b"\n", 1)[0])["child-pid"])
            self._init_handle = os.pidfd_open(self.init)


def _await_input(descriptor: int) -> None:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    waiting.poll(_DYING_MILLISECONDS)
