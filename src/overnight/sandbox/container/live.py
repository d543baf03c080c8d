"""One running container: its PID 1, the pipe of requests, what the kernel counts, and its end."""

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Final

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.cgroup import Cgroup
from overnight.sandbox.container.arguments import Container, run_arguments
from overnight.sandbox.container.engine import Engine, EngineError
from overnight.sandbox.container.streams import make_named_pipe
from overnight.sandbox.leftovers import Leftovers
from overnight.sandbox.watch import descendants

_CGROUPS = Path("/sys/fs/cgroup")
_NO_CAPABILITIES: Final = "0" * 16
_TRIES = 5


class Live:
    """A container that runs. All of it lives below `init`, a process of the host."""

    def __init__(self, engine: Engine, container: Container, folder: Path) -> None:
        self.engine = engine
        self.name = container.name
        self.control = container.control
        self.init = 0
        self.group: Cgroup | None = None
        self.ended = asyncio.Event()
        """Set when PID 1, and so everything inside, is gone."""
        self.doomed = False
        """Whether it was killed, although it may not have ended yet."""
        self.leftovers = Leftovers()
        self._container = container
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._handle: int | None = None
        self._requests: int | None = None
        self._reading: int | None = None
        self._killing: asyncio.Task[str] | None = None

    async def begin(self) -> None:
        """Start it, and see from outside that it is confined.

        Raises:
            SandboxUnavailableError: the engine refuses, or the container is not confined as it must be.
        """
        try:
            await self._begin()
        except BaseException:
            await asyncio.shield(self.remove())
            raise

    async def _begin(self) -> None:
        # The reading end stays open: a request may come before PID 1 has opened its own.
        self._reading, self._requests = make_named_pipe(self.control / "requests", self.engine.owner)
        os.set_blocking(self._requests, False)
        await self.engine.call(*run_arguments(self.engine, self._container))
        self.init = await self._find_init()
        try:
            self._handle = os.pidfd_open(self.init)
            check_confinement(Path(f"/proc/{self.init}/status").read_text())
        except (OSError, ProcessLookupError) as error:
            raise SandboxUnavailableError("The container ended as soon as it began") from error
        self._loop.add_reader(self._handle, self._on_end)
        self.group = _group_of(self.init)

    async def _find_init(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(self._container.pid_file.read_text())
        said = await self.engine.call("inspect", "--format", "{{.State.Pid}}", self._container.name)
        if not said.isdigit() or int(said) < 2:
            raise SandboxUnavailableError("The container ended as soon as it began")
        return int(said)

    def _on_end(self) -> None:
        assert self._handle is not None
        self._loop.remove_reader(self._handle)
        self.ended.set()

    def request(self, text: str) -> None:
        """Ask PID 1 for something; does nothing when it is gone."""
        if self._requests is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._requests, text.encode() + b"\n")

    def inside(self) -> list[int]:
        """Return the processes inside but PID 1, as the host numbers them."""
        return [] if self.ended.is_set() else [one for one in descendants(self.init) if one != self.init]

    def reachable(self) -> bool:
        """Whether this process may send signals to those inside; where not, the engine must."""
        try:
            os.kill(self.init, 0)
        except PermissionError:
            return False
        except ProcessLookupError:
            return True
        return True

    def kill(self) -> None:
        """Kill everything inside; PID 1 takes all others with it."""
        self.doomed = True
        if self._handle is None or self.ended.is_set():
            return
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError:
            if self._killing is None:
                self._killing = asyncio.create_task(self.engine.call("kill", self._container.name))

    async def remove(self) -> None:
        """Kill it, remove it from the engine, and remove its folder. Can be called again."""
        self.kill()
        if self._killing is not None:
            await asyncio.wait({self._killing})
        if self._handle is not None:
            await self.ended.wait()
            os.close(self._handle)
            self._handle = None
        for descriptor in (self._requests, self._reading):
            if descriptor is not None:
                os.close(descriptor)
        self._requests = self._reading = None
        await self.leftovers.close()
        await remove_container(self.engine, self._container.name)
        shutil.rmtree(self._folder, ignore_errors=True)


async def remove_container(engine: Engine, name: str) -> None:
    """Remove a container by force; one that is not there is fine.

    Raises:
        EngineError: it is still there after some tries.
    """
    options = ("--force", "--time", "0") if engine.name == "podman" else ("--force",)
    for last in range(_TRIES, 0, -1):
        try:
            await engine.call("rm", *options, name)
        except EngineError as error:
            # The engine's own clean-up may be at work on it, or already done.
            if "no such container" in error.message.lower() or "no container with" in error.message.lower():
                return
            if last == 1:
                raise
            await asyncio.sleep(0.2)
        else:
            return


def check_confinement(status: str) -> None:
    """See that /proc/PID/status (proc(5)) of PID 1 says what we asked for: an engine may ignore options.

    Raises:
        SandboxUnavailableError: it is root to the kernel, holds a capability or runs without a filter.
    """
    values = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    wrong = ""
    if values.get("NSpid", ["0"])[-1] != "1":
        wrong = "is not its own first process"
    elif "0" in (*values.get("Uid", ["0"]), *values.get("Gid", ["0"])):
        wrong = "runs as root"
    elif any(values.get(name) != [_NO_CAPABILITIES] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")):
        wrong = "holds capabilities"
    elif values.get("NoNewPrivs") != ["1"]:
        wrong = "could gain privileges"
    elif values.get("Seccomp") != ["2"]:
        wrong = "has no system-call filter"
    if wrong:
        raise SandboxUnavailableError(
            f"The container engine started a container that {wrong}, although it was told not to",
            "Use `--sandbox auto`, or another engine.",
        )


def _group_of(init: int) -> Cgroup | None:
    """Return the container's control group as the engine made it, where it counts memory."""
    folders: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{init}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if path == "/" or ".." in path:
                continue
            for name in names.split(","):
                folder = (_CGROUPS / name if name else _CGROUPS) / path.lstrip("/")
                if name in ("memory", "pids", "cpuacct") and folder.is_dir():
                    folders[name] = folder
                elif not name and (folder / "memory.events").is_file():
                    return Cgroup(folders={"": folder})
    return Cgroup(folders=folders) if {"memory", "pids"} <= set(folders) else None
