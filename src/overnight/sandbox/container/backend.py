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
from overnight.sandbox.guard import Guard
from overnight.sandbox.interface import Command, CommandResult, OnOutput, SandboxSpec
from overnight.sandbox.running import LocalSandbox, Reins
from overnight.sandbox.stillness import held_still
from overnight.sandbox.tools import STANDARD_PATH, HostTools
from overnight.sandbox.view import HOME, make_scratch, shell_variables
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


class ContainerSandbox(LocalSandbox):
    """One workspace's container, which starts with the first command."""

    def __init__(self, backend: ContainerBackend, spec: SandboxSpec) -> None:
        super().__init__(spec)
        self._backend = backend
        self._starting = asyncio.Lock()
        self._live: Live | None = None
        self._guard = Guard(spec)
        self._numbers = itertools.count(1)
        self._variables: Mapping[str, str] = {}
        """Of every command, before those of the workspace and its own."""
        self._binds = (*spec.binds, *(spec.egress.binds if spec.egress is not None else ()))

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process inside for as long as the context lasts."""
        live = self._live
        if live is None or live.ended.is_set():
            return contextlib.nullcontext()
        return held_still(live.inside) if live.reachable() else _paused(live)

    async def _shut(self) -> None:
        await self._guard.leave()
        async with self._starting:
            if self._live is not None:
                await self._live.remove()
                self._live = None

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
        own: Mapping[str, str] = {} if image is None or hosted else image.variables
        path = ":".join((*spec.path, *tools.path, own.get("PATH") or ":".join(STANDARD_PATH)))
        self._variables = {
            **shell_variables(path),
            **own,
            "HOME": HOME,
            "PATH": path,
            **(spec.egress.variables if spec.egress is not None else {}),
            **spec.variables,
        }
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

    async def _carry_out(
        self, command: Command, on_output: OnOutput | None, begun: "asyncio.Future[Reins] | None"
    ) -> CommandResult:
        said = await self._guard.leave()
        live = await self._ready()
        limits, owner = self._spec.limits, self._backend.owner
        started, number = time.monotonic(), next(self._numbers)
        with NamedPipes(
            live.control, number, command.stdin, owner, limits.output_bytes, on_output,
            open_input=begun is not None, bytes_per_second=limits.output_bytes_per_second,
        ) as pipes:  # fmt: skip
            task = Task(live, number, owner)
            seconds = self._seconds(command, waited_for=begun is None)
            watch = Watch(limits, seconds, pipes, written_directories(self._spec), live.group)
            try:
                task.begin(command, {**self._variables, **command.variables})
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
                if self._alone and not live.doomed and live.inside():
                    self._guard.stand(live.init, live.kill, live.group)
            code = -signal.SIGKILL if task.exit_code is None or stopped else task.exit_code
            return outcome(self._spec, code, watch, pipes, started, said)


@contextlib.asynccontextmanager
async def _paused(live: Live) -> AsyncGenerator[None]:
    """Let the engine stop everything inside, where we may not send signals there."""
    await live.engine.call("pause", live.name)
    try:
        yield
    finally:
        await asyncio.shield(live.engine.call("unpause", live.name))


def _stop(task: Task, live: Live, watch: Watch) -> None:
    """End what passed a bound: whoever fills memory or disk may be another process than the command."""
    if watch.limit in ONE_COMMAND:
        task.kill()
    else:
        live.kill()
