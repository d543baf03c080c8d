"""The sandbox of Linux namespaces that bubblewrap builds anew for every command, in milliseconds."""

import asyncio
import os
import platform
import signal
import time
import weakref
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.bubblewrap.arguments import (
    Bubblewrap,
    command_arguments,
    mount_arguments,
    namespace_arguments,
)
from overnight.sandbox.bubblewrap.orphans import end_orphans
from overnight.sandbox.bubblewrap.process import Process
from overnight.sandbox.cgroup import Cgroup, create_cgroup
from overnight.sandbox.interface import (
    Command,
    CommandResult,
    OnOutput,
    SandboxSpec,
)
from overnight.sandbox.pipes import Pipes
from overnight.sandbox.processes import OWNER, SANDBOXES_AT_ONCE, counts_processes_apart
from overnight.sandbox.running import LocalSandbox, Reins
from overnight.sandbox.seccomp import seccomp_filter
from overnight.sandbox.stillness import held_still
from overnight.sandbox.tools import STANDARD_PATH, HostTools
from overnight.sandbox.view import make_scratch, shell_variables, write_etc
from overnight.sandbox.watch import Watch, descendants, outcome, written_directories


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


class BubblewrapSandbox(LocalSandbox):
    """One workspace's sandbox. Every command gets namespaces of its own over the same files."""

    def __init__(self, backend: BubblewrapBackend, spec: SandboxSpec) -> None:
        super().__init__(spec)
        self._backend = backend
        self._cgroup: Cgroup | None = None
        self._prepared: list[str] | None = None
        self._path = ""
        self._processes: set[Process] = set()

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process inside for as long as the context lasts."""
        return held_still(self._inside)

    def _inside(self) -> list[int]:
        """Return the processes of all running commands, without the inits, as the host sees them."""
        inits = {process.init for process in self._processes if process.init is not None}
        return [each for init in inits for each in descendants(init) if each != init]

    async def _shut(self) -> None:
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

    def _arguments(self, command: Command) -> tuple[list[str], list[str], list[str]]:
        prepared = self._prepare()
        variables = {**shell_variables(self._path), **self._spec.variables, **command.variables}
        owner = self._backend.owner
        setting, dropping, executed = command_arguments(command.words, command.folder(), variables, owner)
        return [*prepared, *setting, "--chdir", "/"], dropping, executed

    async def _carry_out(
        self, command: Command, on_output: OnOutput | None, begun: "asyncio.Future[Reins] | None"
    ) -> CommandResult:
        backend, limits = self._backend, self._spec.limits
        arguments, dropping, executed = self._arguments(command)
        started = time.monotonic()
        with Pipes(
            command.stdin, backend.owner, limits.output_bytes, on_output, open_input=begun is not None,
            bytes_per_second=limits.output_bytes_per_second,
        ) as pipes:  # fmt: skip
            process = Process(
                backend.bubblewrap.program, arguments, (dropping, executed), backend.filter, pipes
            )
            self._processes.add(process)
            try:
                seconds = self._seconds(command, waited_for=begun is None)
                watch = Watch(limits, seconds, pipes, written_directories(self._spec), self._cgroup)
                await process.begin(limits, self._cgroup, self._process_bound())
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

    def _process_bound(self) -> int | None:
        """Return the bound on the user's processes, where the user has none outside of sandboxes.

        Started by root all sandboxes share one user: with a control group each has its own bound, and
        this one only stops what would fill the machine.
        """
        processes = self._spec.limits.processes
        if self._backend.privileged:
            return processes * SANDBOXES_AT_ONCE
        return processes if counts_processes_apart() else None
