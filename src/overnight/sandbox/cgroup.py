"""A control group per sandbox, where we may make one: exact bounds, one count of all inside, and a freezer.

Version 2 where it has the controllers, else the separate hierarchies of version 1.
"""

import contextlib
import functools
import itertools
import os
import re
import time
from pathlib import Path

from overnight.domain.limits import Limits
from overnight.sandbox.makers import PATTERN, is_gone, this_maker

_ROOT = Path("/sys/fs/cgroup")
_NAME = re.compile(rf"overnight-({PATTERN})-[0-9]+")
_numbers = itertools.count(1)
_MOST_PROCESSES = 4_000_000
"""The kernel has no more numbers for processes than 2**22, and refuses a bound above them."""


class Cgroup:
    """The folders that make up one group: one on version 2 (as ""), one a controller on version 1."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self._open: dict[tuple[str, str], int] = {}
        """Files with counts, held open: a command looks at them at its beginning and its end."""
        self._bounds: tuple[int, int] | None = None

    @property
    def members(self) -> list[str]:
        """The files that take the pid of a process to move, with all it will start, into the group."""
        return [str(folder / "cgroup.procs") for folder in dict.fromkeys(self.folders.values())]

    @property
    def entrances(self) -> list[str]:
        """The files that move a process of one thread, which writes 0 there.

        On version 1 moving another process makes the kernel wait until all processors have passed a point,
        some milliseconds; a thread that moves itself does not. The kernel asks who opened the file.
        """
        name = "cgroup.procs" if "" in self.folders else "tasks"
        return [str(folder / name) for folder in dict.fromkeys(self.folders.values())]

    def add(self, process: int) -> None:
        """Move `process`, and with it all it will start, into the group."""
        for file in self.members:
            Path(file).write_text(str(process))

    def bound(self, limits: Limits) -> None:
        """Set the bounds on memory and processes.

        Raises:
            OSError: the kernel refused.
        """
        bounds = (limits.memory_bytes, min(limits.processes, _MOST_PROCESSES))
        if bounds != self._bounds:
            self._bounds = None
            self._set_bounds(limits)
            self._bounds = bounds

    def _set_bounds(self, limits: Limits) -> None:
        if "" in self.folders:
            folder = self.folders[""]
            (folder / "memory.max").write_text(str(limits.memory_bytes))
            (folder / "pids.max").write_text(str(min(limits.processes, _MOST_PROCESSES)))
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
            return
        memory = self.folders["memory"]
        (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
        with contextlib.suppress(OSError):
            (memory / "memory.memsw.limit_in_bytes").write_text(str(limits.memory_bytes))
        (self.folders["pids"] / "pids.max").write_text(str(min(limits.processes, _MOST_PROCESSES)))

    def kills(self) -> int:
        """Return how many processes of the group the kernel has killed for want of memory."""
        if "" in self.folders:
            return self._count("", "memory.events", "oom_kill")
        return self._count("memory", "memory.oom_control", "oom_kill")

    def refusals(self) -> int:
        """Return how often the kernel refused the group another process."""
        return self._count("" if "" in self.folders else "pids", "pids.events", "max")

    def cpu_seconds(self) -> float | None:
        """Return the group's processor time; None where it is not counted."""
        with contextlib.suppress(OSError, ValueError):
            if "" in self.folders:
                return self._count("", "cpu.stat", "usage_usec") / 1e6
            if "cpuacct" in self.folders:
                return int(self._read("cpuacct", "cpuacct.usage")) / 1e9
        return None

    @property
    def freezes(self) -> bool:
        """Whether `freeze` can be asked for."""
        return self._freezer is not None

    @property
    def _freezer(self) -> tuple[Path, str, str] | None:
        """The file to write to, and what freezes and what thaws."""
        if "" in self.folders:
            return self.folders[""] / "cgroup.freeze", "1", "0"
        if "freezer" in self.folders:
            return self.folders["freezer"] / "freezer.state", "FROZEN", "THAWED"
        return None

    def frozen(self) -> bool:
        """Say whether every process of the group stands still."""
        if "" in self.folders:
            return self._count("", "cgroup.events", "frozen") == 1
        return (self.folders["freezer"] / "freezer.state").read_text().strip() == "FROZEN"

    def freeze(self, wanted: bool) -> None:
        """Ask the kernel to stop every process of the group, or to let them go on."""
        assert self._freezer is not None
        file, stop, go = self._freezer
        file.write_text(stop if wanted else go)

    def _read(self, kind: str, name: str) -> bytes:
        file = self._open.get((kind, name))
        if file is None:
            file = os.open(self.folders[kind] / name, os.O_RDONLY | os.O_CLOEXEC)
            self._open[kind, name] = file
        return os.pread(file, 4096, 0)

    def _count(self, kind: str, name: str, wanted: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            for line in self._read(kind, name).splitlines():
                said, _, count = line.partition(b" ")
                if said == wanted.encode():
                    return int(count)
        return 0

    def remove(self) -> None:
        """Remove the group; its last process may still be on its way out."""
        while self._open:
            os.close(self._open.popitem()[1])
        for folder in self.folders.values():
            for _ in range(200):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.005)
                else:
                    break


def _own_folders() -> dict[str, Path]:
    """Return the folder of this process for each version 1 controller, and for version 2 as ""."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            mount = _ROOT / controller if controller else _ROOT
            found[controller] = mount / path.lstrip("/")
    return found


@functools.cache
def _sweep() -> None:
    """Remove, once in the life of this process, the groups of processes of ours that died with theirs."""
    own = {"": _ROOT, **_own_folders()}
    for parent in {*own.values(), _ROOT}:
        for folder in parent.glob("overnight-*"):
            named = _NAME.fullmatch(folder.name)
            if named is not None and is_gone(named[1]):
                with contextlib.suppress(OSError):  # on version 1 what is frozen does not even die
                    (folder / "freezer.state").write_text("THAWED")
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _version_2(name: str) -> Cgroup | None:
    # A group that holds processes cannot have controllers for its children, so ours hangs from the top.
    offered = _ROOT / "cgroup.subtree_control"
    if not offered.is_file() or not {"memory", "pids"} <= set(offered.read_text().split()):
        return None
    folder = _ROOT / name
    folder.mkdir()
    return Cgroup({"": folder})


def _version_1(name: str) -> Cgroup | None:
    own = _own_folders()
    if "memory" not in own or "pids" not in own:
        return None
    folders: dict[str, Path] = {}
    for controller in ("memory", "pids", "freezer", "cpuacct"):
        if controller in own:
            folder = own[controller] / name
            with contextlib.suppress(FileExistsError):  # two controllers of one hierarchy
                try:
                    folder.mkdir()
                except OSError:
                    if controller in {"memory", "pids"}:
                        raise
                    continue
            folders[controller] = folder
    return Cgroup(folders)


def create_cgroup(limits: Limits) -> Cgroup | None:
    """Return a new group with the bounds of `limits`, or None where this process may not make one."""
    _sweep()
    name = f"overnight-{this_maker()}-{next(_numbers)}"
    for make in (_version_2, _version_1):
        with contextlib.suppress(OSError):
            made = make(name)
            if made is not None:
                try:
                    made.bound(limits)
                except OSError:
                    made.remove()
                    raise
                return made
    return None
