"""A control group per sandbox, where root may make one: exact bounds on memory and processes."""

import contextlib
import functools
import itertools
import os
import time
from pathlib import Path

import msgspec

from overnight.domain.limits import Limits

_ROOT = Path("/sys/fs/cgroup")
_numbers = itertools.count(1)


class Cgroup(msgspec.Struct, frozen=True, kw_only=True):
    """The folders that make up one group: one on version 2, one a controller on version 1."""

    folders: tuple[Path, ...]
    events: Path
    """The file that counts what the kernel killed for want of memory."""

    def add(self, process: int) -> None:
        """Move `process`, and with it all it will start, into the group."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(process))

    def kills(self) -> int:
        """Return how many processes of the group the kernel has killed for want of memory."""
        with contextlib.suppress(OSError, ValueError):
            for line in self.events.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
        return 0

    def remove(self) -> None:
        """Remove the group; its last process may still be on its way out."""
        for folder in self.folders:
            for _ in range(20):
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
    """Remove, once in the life of this process, the groups of processes that died with theirs."""
    for folder in _ROOT.rglob("overnight-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _version_2(limits: Limits, name: str) -> Cgroup | None:
    # A group that holds processes cannot have controllers for its children, so ours hangs from the top.
    offered = _ROOT / "cgroup.subtree_control"
    if not offered.is_file() or not {"memory", "pids"} <= set(offered.read_text().split()):
        return None
    folder = _ROOT / name
    folder.mkdir()
    (folder / "memory.max").write_text(str(limits.memory_bytes))
    (folder / "pids.max").write_text(str(limits.processes))
    with contextlib.suppress(OSError):
        (folder / "memory.swap.max").write_text("0")
        (folder / "memory.oom.group").write_text("1")
    return Cgroup(folders=(folder,), events=folder / "memory.events")


def _version_1(limits: Limits, name: str) -> Cgroup | None:
    own = _own_folders()
    if "memory" not in own or "pids" not in own:
        return None
    memory, pids = own["memory"] / name, own["pids"] / name
    for folder in (memory, pids):
        folder.mkdir()
    (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
    with contextlib.suppress(OSError):
        (memory / "memory.memsw.limit_in_bytes").write_text(str(limits.memory_bytes))
    (pids / "pids.max").write_text(str(limits.processes))
    return Cgroup(folders=(memory, pids), events=memory / "memory.oom_control")


def create_cgroup(limits: Limits) -> Cgroup | None:
    """Return a new group with the bounds of `limits`, or None where this process may not make one."""
    _sweep()
    name = f"overnight-{os.getpid()}-{next(_numbers)}"
    for make in (_version_2, _version_1):
        with contextlib.suppress(OSError):
            made = make(limits, name)
            if made is not None:
                return made
    return None
