"""The sandbox of a container engine: one container a sandbox, in which commands are started on request."""

import asyncio
import contextlib
import itertools
import platform
import signal
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from math import inf
from pathlib import Path

import msgspec

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.container.arguments import Container
from overnight.sandbox.container.command import Task
from overnight.sandbox.container.engine import Engine
from overnight.sandbox.container.image import Image, import_skeleton, resolve_image
from overnight.sandbox.container.lift import lift_listeners
from overnight.sandbox.container.live import Live
from overnight.sandbox.container.orphans import this_owner
from overnight.sandbox.container.profile import seccomp_profile
from overnight.sandbox.container.skeleton import write_skeleton
from overnight.sandbox.container.streams import NamedPipes
from overnight.sandbox.interface import Command, CommandResult, OnOutput, SandboxSpec
from overnight.sandbox.running import Going, Reins, begin, end
from overnight.sandbox.stillness import held_still
from overnight.sandbox.tools import STANDARD_PATH, HostTools
from overnight.sandbox.view import HOME, make_scratch
from overnight.sandbox.watch import ONE_COMMAND, Watch, outcome, written_directories


class ContainerBackend:
    """Isolation by docker or podman: the same confinement everywhere, whatever the image.

    Without an image the host's own programs are bound read-only into bare folders.
    """

    name = "container"
    overlay = False
    lasting = True
    networks = frozenset({"none", "host", "egress"})

    def __init__(self, engine: Engine, tools: HostTools, state: Path) -> None:
        self.engine = engine
        self.owner = engine.owner
        self.tools = tools
        self.state = state
        uid, gid = (int(part) for part in engine.user.split(":"))
        self.skeleton = write_skeleton(state, uid, gid)
        self.profile = state / f"seccomp-{platform.machine()}.json"
        _write_once(self.profile, seccomp_profile(platform.machine()))
        self._images: dict[str, Image] = {}

    def open(self, spec: SandboxSpec) -> "ContainerSandbox":
        """Return a sandbox over the copied workspace `spec.upper`; nothing starts yet.

        Raises:
            SandboxUnavailableError: the workspace is an overlay, which engines cannot mount everywhere.
        """
        if spec.lower:
            raise SandboxUnavailableError("In a container a workspace must be a copy, not an overlay.")
        return ContainerSandbox(self, spec)

    async def pin(self, image: str) -> str:
        """Return the id of a local image, by which it is named from then on; empty for no image.

        Raises:
            UsageError: there is no such image here, or it would steer the runtime.
        """
        return (await resolve_image(self.engine, image)).id if image else ""

    def enforces(self) -> dict[str, str]:
        """Say for each bound how it is kept by this engine here, for `overnight doctor`."""
        engine = self.engine
        runtime = f", runtime {engine.way.runtime}" if engine.way.runtime else ""
        group = "the engine's control group" if engine.way.cgroups else ""
        nproc = "RLIMIT_NPROC of the sandboxes' own user" if engine.owner is not None else "not enforced"
        return {
            "engine": f"{engine.name} {engine.version}{', rootless' if engine.rootless else ''}{runtime}",
            "time": "timer",
            "memory": group or "watched",
            "processes": group or nproc,
            "cpu": "control group, RLIMIT_CPU" if group else "watched, RLIMIT_CPU",
            "files": "RLIMIT_FSIZE, RLIMIT_NOFILE",
            "disk": "watched",
            "output": "read no faster than allowed; a flood is stopped",
            "freeze": "signals, else the engine's pause",
            "network": "own namespace",
            "landlock": "not used",
        }

    async def image(self, name: str) -> Image | None:
        """Return the image to start from; None for the skeleton as a directory."""
        if not name and self.engine.name == "podman":
            return None
        if name not in self._images:
            if name:
                self._images[name] = await resolve_image(self.engine, name)
            else:
                own = f"overnight-host:{self.skeleton.name.rpartition('-')[2]}"
                self._images[name] = await import_skeleton(self.engine, self.skeleton, own)
        return self._images[name]


def _write_once(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        making = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
        making.write_text(text)
        making.replace(path)


class ContainerSandbox:
    """One workspace's container, which starts with the first command."""

    def __init__(self, backend: ContainerBackend, spec: SandboxSpec) -> None:
        self._backend = backend
        self._spec = spec
        self._lock = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._live: Live | None = None
        self._numbers = itertools.count(1)
        self._variables: Mapping[str, str] = {}
        self._path = ""
        self._going: set[Going] = set()
        self._binds = (*spec.binds, *(spec.egress.binds if spec.egress is not None else ()))

    async def run(self, command: Command, on_output: OnOutput | None = None) -> CommandResult:
        """Run `command` to its end or to a limit; see `Sandbox.run`."""
        async with self._lock:
            return await self._run(command, on_output)

    async def start(self, command: Command, on_output: OnOutput | None = None) -> Going:
        """Start `command` and return at once; see `Sandbox.start`."""
        going = await begin(lambda begun: self._run(command, on_output, begun))
        self._going.add(going)
        return going

    @contextlib.asynccontextmanager
    async def _paused(self, live: Live) -> AsyncGenerator[None]:
        engine, name = self._backend.engine, live.name
        await engine.call("pause", name)
        try:
            yield
        finally:
            await asyncio.shield(engine.call("unpause", name))

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process inside for as long as the context lasts."""
        live = self._live
        if live is None or live.ended.is_set():
            return contextlib.nullcontext()
        return held_still(live.inside) if live.reachable() else self._paused(live)

    async def close(self) -> None:
        """Wait for the running command, end everything that runs inside, and remove the container."""
        await end(self._going)
        async with self._lock, self._starting:
            if self._live is not None:
                await self._live.remove()
                self._live = None
        if self._spec.egress is not None:
            await self._spec.egress.close()

    async def _ready(self) -> Live:
        """Return the container, started if there is none or a limit ended the last one."""
        async with self._starting:
            if self._live is not None and (self._live.doomed or self._live.ended.is_set()):
                await self._live.remove()
                self._live = None
            if self._live is None:
                live = await self._prepare()
                await live.begin()
                self._live = live
                await self._serve(live)
            return self._live

    async def _serve(self, live: Live) -> None:
        """Let the proxy answer what is asked for inside; a container that took another's place as well."""
        if self._spec.network != "egress":
            return
        if self._spec.egress is None:
            raise SandboxUnavailableError("Nobody answers the network of this sandbox.")
        self._spec.egress.serve(await lift_listeners(live.init))

    async def _prepare(self) -> Live:
        backend, spec = self._backend, self._spec
        image = await backend.image(spec.image)
        hosted = not spec.image
        tools = backend.tools.find(spec.tools if hosted else ())
        if image is not None and not hosted:
            self._variables = {**image.variables, "HOME": HOME}
        standard = self._variables.get("PATH") or ":".join(STANDARD_PATH)
        self._path = ":".join((*spec.path, *tools.path, standard))
        name = f"{this_owner()}-{uuid.uuid4().hex[:12]}"
        folder = backend.state / "containers" / name
        (folder / "control").mkdir(parents=True)
        (folder / "control").chmod(0o755)
        if spec.scratch is not None:
            make_scratch(spec.scratch, backend.owner)
        container = Container(
            name=name,
            spec=msgspec.structs.replace(spec, binds=self._binds),
            tools=tools.binds,
            control=folder / "control",
            pid_file=folder / "pid",
            profile=backend.profile,
            root=image.id if image is not None else str(backend.skeleton),
            hosted=hosted,
            labels={"overnight.owner": this_owner(), "overnight.state": str(backend.state)},
        )
        return Live(backend.engine, container, folder)

    def _environment(self, command: Command) -> dict[str, str]:
        return {
            "LANG": "C.UTF-8",
            "HOME": HOME,
            "USER": "overnight",
            "LOGNAME": "overnight",
            "SHELL": "/bin/bash",
            "TERM": "dumb",
            **self._variables,
            "PATH": self._path,
            **(self._spec.egress.variables if self._spec.egress is not None else {}),
            **self._spec.variables,
            **command.variables,
        }

    async def _run(
        self,
        command: Command,
        on_output: OnOutput | None,
        begun: "asyncio.Future[Reins] | None" = None,
    ) -> CommandResult:
        live, egress = await self._ready(), self._spec.egress
        if egress is not None:
            egress.asking(command.text)
        limits, lasting, owner = self._spec.limits, begun is not None, self._backend.owner
        started, number = time.monotonic(), next(self._numbers)
        with NamedPipes(
            live.control, number, command.stdin, owner, limits.output_bytes, on_output, open_input=lasting,
            bytes_per_second=limits.output_bytes_per_second,
        ) as pipes:  # fmt: skip
            task = Task(live, number, owner)
            seconds = inf if lasting else limits.command_seconds
            seconds = seconds if command.seconds is None else command.seconds
            watch = Watch(limits, seconds, pipes, written_directories(self._spec), live.group)
            try:
                task.begin(command, self._environment(command))
                if begun is not None and not begun.done():
                    begun.set_result(Reins(write=pipes.write, ask=task.ask, kill=task.kill))
                await watch.until_end(task.ended, lambda: _stop(task, live, watch), live.init)
                pipes.close_child_ends()
                pipes.read_now()
                stopped = watch.limit is not None
                watch.judge(task.exit_code or 0, self._spec)
                if watch.limit == "processes":
                    task.kill()  # what it left would keep every other command from starting
            finally:
                await task.finish()
                pipes.close_child_ends()
                live.leftovers.take(pipes.hand_over())
                if egress is not None:
                    egress.asking("")
            code = -signal.SIGKILL if task.exit_code is None or stopped else task.exit_code
            return outcome(self._spec, code, watch, pipes, started)


def _stop(task: Task, live: Live, watch: Watch) -> None:
    """End what passed a bound: whoever fills memory or disk may be another process than the command."""
    if watch.limit in ONE_COMMAND:
        task.kill()
    else:
        live.kill()
