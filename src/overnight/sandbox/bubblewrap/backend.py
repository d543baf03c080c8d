"""The sandbox of Linux namespaces that bubblewrap builds anew for every command, in milliseconds."""

import asyncio
import contextlib
import json
import os
import platform
import select
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from math import inf
from pathlib import Path

from overnight.domain.errors import SandboxUnavailableError
from overnight.domain.limits import Limits
from overnight.sandbox.bubblewrap.arguments import (
    Bubblewrap,
    command_arguments,
    mount_arguments,
    namespace_arguments,
    waiting_arguments,
)
from overnight.sandbox.bubblewrap.orphans import end_orphans, process_name
from overnight.sandbox.cgroup import Cgroup, create_cgroup
from overnight.sandbox.interface import (
    WORKSPACE,
    Command,
    CommandResult,
    OnOutput,
    SandboxSpec,
)
from overnight.sandbox.pipes import Pipes, memory_file
from overnight.sandbox.processes import counts_processes_apart, lower_limits
from overnight.sandbox.running import Going, Reins, begin, end
from overnight.sandbox.seccomp import seccomp_filter
from overnight.sandbox.stillness import held_still
from overnight.sandbox.tools import STANDARD_PATH, HostTools
from overnight.sandbox.view import HOME, make_scratch, write_etc
from overnight.sandbox.watch import Watch, descendants, outcome, written_directories

OWNER = (200_000, 200_000)
"""Who commands are when root starts the sandbox: a kernel uid that owns nothing of the host."""

_SANDBOXES = 8
"""Sandboxes at once that the process bound of a shared user leaves room for."""
_DYING_MILLISECONDS = 10_000
_ENDING_SIGNALS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 24, 25, 31})


class BubblewrapBackend:
    """Isolation by Linux namespaces, rootless or started by root; never kernel uid 0 inside."""

    name = "bubblewrap"
    overlay = True
    lasting = False
    networks = frozenset({"none", "host"})

    def __init__(self, bubblewrap: Bubblewrap, tools: HostTools, state: Path) -> None:
        self.bubblewrap = bubblewrap
        self.privileged = os.geteuid() == 0
        self.owner: tuple[int, int] | None = OWNER if self.privileged else None
        self.tools = tools
        uid, gid = self.owner or (os.geteuid(), os.getegid())
        self.etc = write_etc(state, uid, gid)
        self.filter = seccomp_filter(platform.machine())
        end_orphans()

    async def pin(self, image: str) -> str:
        """Return nothing: commands run the host's own programs."""
        return ""

    def open(self, spec: SandboxSpec) -> "BubblewrapSandbox":
        """Return a sandbox over the workspace that `spec` describes; nothing starts yet."""
        return BubblewrapSandbox(self, spec)


class BubblewrapSandbox:
    """One workspace's sandbox. Every command gets namespaces of its own over the same files."""

    def __init__(self, backend: BubblewrapBackend, spec: SandboxSpec) -> None:
        self._backend = backend
        self._spec = spec
        self._lock = asyncio.Lock()
        self._cgroup: Cgroup | None = None
        self._prepared: list[str] | None = None
        self._path = ""
        self._processes: set[_Process] = set()
        self._going: set[Going] = set()

    async def run(self, command: Command, on_output: OnOutput | None = None) -> CommandResult:
        """Run `command` to its end or to a limit; see `Sandbox.run`."""
        async with self._lock:
            return await self._run(command, on_output)

    async def start(self, command: Command, on_output: OnOutput | None = None) -> Going:
        """Start `command` in namespaces of its own and return at once; see `Sandbox.start`."""
        going = await begin(lambda begun: self._run(command, on_output, begun))
        self._going.add(going)
        return going

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process inside for as long as the context lasts."""
        return held_still(self._inside)

    def _inside(self) -> list[int]:
        """Return the processes of all running commands, without the inits, as the host sees them."""
        inits = {process.init for process in self._processes if process.init is not None}
        return [each for init in inits for each in descendants(init) if each != init]

    async def close(self) -> None:
        """Wait for the running command, end what was started, and give the control group back."""
        await end(self._going)
        async with self._lock:
            if self._cgroup is not None:
                self._cgroup.remove()
                self._cgroup = None

    def _prepare(self) -> list[str]:
        """Return the arguments that are the same for every command, made once."""
        if self._prepared is None:
            backend, spec = self._backend, self._spec
            tools = backend.tools.find(spec.tools)
            self._path = ":".join((*spec.path, *tools.path, *STANDARD_PATH))
            if spec.scratch is not None:
                make_scratch(spec.scratch, backend.owner)
            self._prepared = [
                *namespace_arguments(spec.network, privileged=backend.privileged),
                *mount_arguments(spec, tools.binds, backend.etc),
            ]
            if backend.privileged:
                self._cgroup = create_cgroup(spec.limits)
                if self._cgroup is not None:
                    weakref.finalize(self, self._cgroup.remove)  # for a sandbox that nobody closed
        return self._prepared

    def _variables(self, command: Command) -> Mapping[str, str]:
        return {
            "LANG": "C.UTF-8",
            "PATH": self._path,
            "HOME": HOME,
            "USER": "overnight",
            "LOGNAME": "overnight",
            "SHELL": "/bin/bash",
            "TERM": "dumb",
            **self._spec.variables,
            **command.variables,
        }

    def _arguments(self, command: Command) -> tuple[list[str], list[str], list[str]]:
        prepared = self._prepare()
        directory = os.path.normpath(os.path.join(WORKSPACE, command.directory))  # noqa: PTH118
        argv = command.argv or ("/bin/bash", "-c", command.script)
        variables, owner = self._variables(command), self._backend.owner
        setting, dropping, executed = command_arguments(argv, directory, variables, owner)
        return [*prepared, *setting, "--chdir", "/"], dropping, executed

    async def _run(
        self,
        command: Command,
        on_output: OnOutput | None,
        begun: "asyncio.Future[Reins] | None" = None,
    ) -> CommandResult:
        limits, lasting = self._spec.limits, begun is not None
        arguments, dropping, executed = self._arguments(command)
        started = time.monotonic()
        owner = self._backend.owner
        with Pipes(
            command.stdin, owner, limits.output_bytes, on_output, open_input=lasting,
            bytes_per_second=limits.output_bytes_per_second,
        ) as pipes:  # fmt: skip
            process = _Process(self._backend, arguments, (dropping, executed), pipes)
            self._processes.add(process)
            try:
                seconds = inf if lasting else limits.command_seconds
                seconds = seconds if command.seconds is None else command.seconds
                watch = Watch(limits, seconds, pipes, written_directories(self._spec), self._cgroup)
                await process.begin(limits, self._cgroup)
                if begun is not None and not begun.done():
                    begun.set_result(Reins(write=pipes.write, ask=process.ask, kill=process.stop))
                await watch.until_end(process.ended, process.kill, process.init)
                await process.finish()
                await pipes.drained()
                stopped = watch.limit is not None
                watch.judge(process.exit_code or 0, self._spec)
            finally:
                self._processes.discard(process)
                process.destroy()
            code = process.exit_code
            if watch.limit is None and code is None and not process.stopped:
                said = pipes.stderr.value().decode(errors="replace").strip()
                raise SandboxUnavailableError(
                    f"The sandbox did not start: {said or 'bubblewrap ended without a word'}",
                    "Run `overnight doctor` to see what this machine lacks.",
                )
            code = -signal.SIGKILL if code is None or stopped else code
            return outcome(self._spec, code, watch, pipes, started)


class _Process:
    """One run of bubblewrap: the process we started, and the init of the pid namespace below it."""

    def __init__(
        self,
        backend: BubblewrapBackend,
        arguments: list[str],
        executed: tuple[list[str], list[str]],
        pipes: Pipes,
    ) -> None:
        self.ended = asyncio.Event()
        self.init: int | None = None
        """Pid of the namespace's init as the host sees it; all of the sandbox lives below it."""
        self.exit_code: int | None = None
        """None until the command itself ended, as far as bubblewrap could tell."""
        self.stopped = False
        self._loop = asyncio.get_running_loop()
        self._privileged = backend.privileged
        self._init_handle: int | None = None
        self._status = b""
        self._begun = asyncio.Event()
        self._status_read, status_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        block_read, self._block_write = os.pipe2(os.O_CLOEXEC)
        # Arguments go by a file descriptor: command lines are for all to read, inside and outside.
        given = memory_file(b"\0".join(os.fsencode(argument) for argument in arguments) + b"\0")
        # bubblewrap reads the filter to its end, so every start needs one with an offset of its own.
        filter_file = memory_file(backend.filter)
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
                executable=backend.bubblewrap.program,
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

    async def begin(self, limits: Limits, cgroup: Cgroup | None) -> None:
        """Wait until the namespaces stand, put the limits on, and let the command go."""
        await self._begun.wait()
        # One object a line: first the init's pid, at the end the exit code.
        first = self._status.split(b"\n", 1)[0]
        if not first:
            return  # bubblewrap failed before it made a process
        self.init = int(json.loads(first)["child-pid"])
        with contextlib.suppress(ProcessLookupError):
            self._init_handle = os.pidfd_open(self.init)
            lower_limits(self.init, limits, self._process_bound(limits))
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

    def _process_bound(self, limits: Limits) -> int | None:
        """Return the bound on the user's processes, where the user has none outside of sandboxes.

        Started by root all sandboxes share one user: with a control group each has its own bound, and
        this one only stops what would fill the machine.
        """
        if self._privileged:
            return limits.processes * _SANDBOXES
        return limits.processes if counts_processes_apart() else None

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
                code = int(said["exit-code"])
                self.exit_code = 128 - code if code - 128 in _ENDING_SIGNALS else code

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
