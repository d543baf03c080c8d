"""What is watched while a command runs: time, memory, disk and output; the first bound passed ends it."""

import asyncio
import contextlib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from typing import Protocol

from overnight.domain.events import LimitHit
from overnight.domain.limits import Limits
from overnight.domain.ports import EventSink
from overnight.sandbox.hidden import Free, held_bytes
from overnight.sandbox.interface import CommandResult, OnLimit, SandboxSpec
from overnight.sandbox.pipes import Pipes

ONE_COMMAND = frozenset({"command_seconds", "cpu_seconds", "output_bytes"})
"""Limits for which only the command that passed them is ended; the others are the whole sandbox's."""
_TICK = 0.05
_DISK_SHARE = 20
"""Disk is measured so seldom that it costs at most one part in this many of the time."""
_ENTRY_BYTES = 4096
"""What a file counts at least: a link or an empty file takes no block, but the disk runs out of inodes."""
_FULL_BYTES = 4 * 1024**2
"""A bounded file system with less room than this is full: a larger write fails before the last block is."""
_SLOWED_SECONDS = 1.0
"""A command that waited less was held up, but not by much: no event."""
_DEPTH = 400
"""Folders within folders before a tree counts as an attack; each level holds a descriptor open."""


def tree_cpu_seconds(root: int) -> float:
    """Return the processor time of `root`, all below it and what they have waited for, in seconds."""
    ticks = 0
    for process in descendants(root):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Counts(Protocol):
    """What the kernel counts of a group of processes."""

    def kills(self) -> int:
        """Return how many processes were killed for want of memory so far."""
        ...

    def refusals(self) -> int:
        """Return how often a new process was refused so far."""
        ...

    def cpu_seconds(self) -> float | None:
        """Return the processor time so far; None where it is not counted."""
        ...


def written_directories(spec: SandboxSpec) -> tuple[Path, ...]:
    """Return the host directories that a command in such a sandbox can fill."""
    scratch = () if spec.scratch is None else (spec.scratch,)
    own = () if spec.bounded else (spec.upper, *scratch)
    return (*own, *(bind.source for bind in spec.binds if bind.writable))


def ran_full(spec: SandboxSpec) -> bool:
    """Say whether a bounded workspace has no room left: a command that failed then may have hit it."""
    if not spec.bounded:
        return False
    state = os.statvfs(spec.upper)
    full = min(_FULL_BYTES, state.f_blocks * state.f_frsize // 16)
    return state.f_bavail * state.f_frsize < full or state.f_favail == 0


def disk_bytes(directory: Path, enough: int) -> int:
    """Return the bytes that the files below `directory` take on disk; stop counting beyond `enough`.

    Each file counts at least `_ENTRY_BYTES`.
    The tree may change and be hostile: links are not followed, names are resolved from open folders, and
    a tree too deep counts as too large.
    """
    total = 0
    open_folders: list[tuple[int, list[str]]] = []

    def enter(descriptor: int) -> None:
        try:
            names = os.listdir(descriptor)
        except OSError:
            names = []
        open_folders.append((descriptor, names))

    try:
        enter(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
    except OSError:
        return 0
    try:
        while open_folders and total <= enough:
            descriptor, names = open_folders[-1]
            if not names:
                os.close(descriptor)
                open_folders.pop()
                continue
            name = names.pop()
            with contextlib.suppress(OSError):
                status = os.lstat(name, dir_fd=descriptor)
                total += max(status.st_blocks * 512, _ENTRY_BYTES)
                if stat.S_ISDIR(status.st_mode):
                    if len(open_folders) >= _DEPTH:
                        return enough + 1
                    enter(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor))
    finally:
        for descriptor, _ in open_folders:
            os.close(descriptor)
    return total


def descendants(root: int) -> Iterable[int]:
    """Yield `root` and every process below it, as far as it can be seen now."""
    waiting = [root]
    while waiting:
        process = waiting.pop()
        yield process
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208
                children = Path(f"/proc/{process}/task/{thread}/children").read_text()
                waiting += map(int, children.split())


def _resident(process: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _proportional(process: int) -> int:
    """Return the process's share of memory, pages shared with others divided; costs a page walk."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(process)


def tree_bytes(root: int, bound: int) -> int:
    """Return the memory of `root` and all below it in bytes: exact only where it may pass `bound`."""
    processes = list(descendants(root))
    total = sum(map(_resident, processes))
    return total if total <= bound else sum(map(_proportional, processes))


def reports(events: EventSink) -> OnLimit:
    """Return what makes an event of each limit, for `SandboxSpec.on_limit`."""
    return lambda limit, detail: events.emit(LimitHit(limit=limit, detail=detail))


class Watch:
    """Waits for a command's end and stops it when it passes a bound.

    Args:
        limits: the bounds.
        seconds: the bound on time, from `until_end` on.
        pipes: where its output comes.
        directories: what it may fill; the first is the workspace.
        group: what the kernel counts, if it does.
        fresh: nothing has run in the group before.
    """

    def __init__(
        self,
        limits: Limits,
        seconds: float,
        pipes: Pipes | None,
        directories: tuple[Path, ...] = (),
        group: Counts | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        self.limit: str | None = None
        self.detail = ""
        self._limits = limits
        self._pipes = pipes
        self._seconds = seconds
        self._deadline = inf
        # The first is the workspace and counts in full; the others may have been full before.
        self._directories = directories
        self._before: dict[Path, int] = {}
        self._free: Free | None = None
        self._next_disk = time.monotonic() + 0.25
        self._group = group
        self._kills_before = 0 if group is None or fresh else group.kills()
        self._refusals_before = 0 if group is None or fresh else group.refusals()
        self._cpu_before: float | None = None

    async def until_end(
        self,
        ended: asyncio.Event,
        kill: Callable[[], None],
        root: int | None,
    ) -> None:
        """Return when `ended` is set; call `kill` and go on waiting when a bound is passed."""
        self._deadline = time.monotonic() + self._seconds
        self._cpu_before = self._cpu(root)
        while not ended.is_set():
            wait = max(0.0, min(_TICK, self._deadline - time.monotonic())) if self.limit is None else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await ended.wait()
            if ended.is_set() or self.limit is not None:
                continue
            await self._look(root)
            if self.limit is not None:
                kill()

    def judge(self, exit_code: int = 0, spec: SandboxSpec | None = None) -> None:
        """Name the limit that the kernel enforced, if the command ended by it."""
        if self.limit is None and exit_code == -signal.SIGXFSZ:
            self.limit = "file_bytes"
            self.detail = f"A file grew beyond {self._limits.file_bytes} bytes."
        if self.limit is None and exit_code == -signal.SIGXCPU:
            self._hit_cpu()
        if self.limit is None and exit_code and self._refused():
            self.limit = "processes"
            self.detail = f"More than {self._limits.processes} processes were asked for."
        if self.limit is None and self._group is not None and self._group.kills() > self._kills_before:
            self._hit_memory()
        if self.limit is None and exit_code and spec is not None and ran_full(spec):
            self.limit = "disk_bytes"
            self.detail = f"The workspace is full: {self._limits.disk_bytes} bytes."

    def _refused(self) -> bool:
        return self._group is not None and self._group.refusals() > self._refusals_before

    def _hit_memory(self) -> None:
        self.limit = "memory_bytes"
        self.detail = f"The command used more than {self._limits.memory_bytes} bytes of memory."

    def _hit_cpu(self) -> None:
        self.limit = "cpu_seconds"
        self.detail = f"The command used more than {self._limits.cpu_seconds:g} seconds of processor time."

    def _cpu(self, root: int | None) -> float:
        """Return the processor time of the sandbox so far in seconds, as well as it can be known."""
        counted = None if self._group is None else self._group.cpu_seconds()
        if counted is not None:
            return counted
        return 0.0 if root is None else tree_cpu_seconds(root)

    async def _look(self, root: int | None) -> None:
        limits = self._limits
        if self._free is None:  # at the first look, of which a short command never gets one
            self._free = Free.of(self._directories)
        if time.monotonic() >= self._deadline:
            self.limit = "command_seconds"
            self.detail = f"The command ran longer than {self._seconds:g} seconds."
        elif self._pipes is not None and self._pipes.flooded:
            self.limit = "output_bytes"
            self.detail = f"The command wrote {self._pipes.total} bytes of output."
        elif self._cpu(root) - (self._cpu_before or 0.0) > limits.cpu_seconds:
            self._hit_cpu()
        elif self._group is not None:
            self.judge()
        elif root is not None and tree_bytes(root, limits.memory_bytes) > limits.memory_bytes:
            self._hit_memory()
        if self.limit is None and time.monotonic() >= self._next_disk:
            await self._look_at_disk(root)

    async def _look_at_disk(self, root: int | None) -> None:
        begun = time.monotonic()
        bound = self._limits.disk_bytes
        processes = () if root is None else tuple(descendants(root))
        held = await asyncio.to_thread(held_bytes, processes, bound)
        if self._group is None and held.memory > self._limits.memory_bytes:
            self._hit_memory()
            return
        total = held.disk
        for index, directory in enumerate(self._directories):
            before = self._before.get(directory, 0)
            size = await asyncio.to_thread(disk_bytes, directory, before + bound)
            if index > 0 and directory not in self._before:
                self._before[directory] = before = size
            total += size - before
        if total > bound:
            self.limit = "disk_bytes"
            self.detail = f"The command filled more than {bound} bytes of disk."
        elif self._free is not None and self._free.running_out(bound):
            self.limit = "disk_bytes"
            self.detail = "The machine's disk is nearly full."
        now = time.monotonic()
        self._next_disk = now + max(0.5, _DISK_SHARE * (now - begun))


def outcome(
    spec: SandboxSpec, exit_code: int, watch: Watch, pipes: Pipes, started: float, said: str = ""
) -> CommandResult:
    """Return how a command ended that was watched since `started`; `said` is told where nothing else is.

    Reports one that had to wait for long because it wrote faster than its limit.
    """
    if spec.on_limit is not None and pipes.slowed > _SLOWED_SECONDS:
        bound = spec.limits.output_bytes_per_second
        detail = f"Output was slowed down to {bound} bytes a second, for {pipes.slowed:.0f} s."
        spec.on_limit("output_bytes_per_second", detail)
    return CommandResult(
        exit_code=exit_code,
        stdout=pipes.stdout.value(),
        stderr=pipes.stderr.value(),
        seconds=time.monotonic() - started,
        limit=watch.limit,
        detail=watch.detail or pipes.detail or said,
    )
