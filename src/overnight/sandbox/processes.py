"""Who the processes of sandboxes are, what bounds each of them, and how one is found and ended."""

import contextlib
import os
import platform
import re
import resource
from collections.abc import Mapping
from math import ceil
from pathlib import Path

from overnight.domain.limits import Limits

OWNER = (200_000, 200_000)
"""uid and gid of commands and of their files where root starts the sandbox: nobody of the host.

Where it can be, the kernel sees each sandbox of `namespaces` as a user of its own (`native/identities.py`).
"""
SANDBOXES_AT_ONCE = 8
"""Sandboxes that the process bound of a user leaves room for who is the same in all of them."""
MARK = "OVERNIGHT_COMMAND"
"""The variable by which children of a command are found that left their parent's process group."""
_ENDING_SIGNALS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 24, 25, 31})


def resource_limits(limits: Limits) -> Mapping[int, int]:
    """Return the bounds of each process by kind (RLIMIT_*), none above what this process may set."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CPU: ceil(limits.cpu_seconds) + 1,
    }
    return {kind: within_reach(value, resource.getrlimit(kind)[1]) for kind, value in wanted.items()}


def within_reach(value: int, hard: int) -> int:
    """Return `value`, or the hard limit where that is lower: raising one takes a capability."""
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def lower_limits(process: int, limits: Limits, processes: int | None = None) -> None:
    """Bound `process`, which has not begun yet, and all that it will start.

    Args:
        processes: also a bound on how many processes its user may have in its user namespace.
    """
    with contextlib.suppress(ProcessLookupError):
        for kind, value in resource_limits(limits).items():
            _lower(process, kind, value)
        if processes is not None:
            _lower(process, resource.RLIMIT_NPROC, processes)


def _lower(process: int, kind: int, value: int) -> None:
    bound = within_reach(value, resource.prlimit(process, kind)[1])
    resource.prlimit(process, kind, (bound, bound))


def counts_processes_apart() -> bool:
    """Say whether the kernel (5.14 on) counts a user's processes for each user namespace apart."""
    numbers = re.findall(r"\d+", platform.release())
    return os.geteuid() == 0 or [int(number) for number in numbers[:2]] >= [5, 14]


_KERNEL_THREAD = 0x200000
"""PF_KTHREAD of the kernel's include/linux/sched.h."""


def carries(process: int, mark: str) -> bool:
    """Say whether a process was started with that `MARK`."""
    return _has(_environment(process), mark)


def may_carry(process: int, mark: str, since: int) -> bool | None:
    """Say whether a process was started with that `MARK`; None where it cannot be told at this moment.

    While a process executes a program it shows no environment. Those that began before `since`, in clock
    ticks since the machine did, do not count, nor do threads of the kernel.
    """
    environment = _environment(process)
    if environment:
        return _has(environment, mark)
    with contextlib.suppress(OSError, IndexError):
        # Fields of proc(5), from the state on: 0 is the state, 6 the flags, 19 the beginning.
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        if fields[0] not in b"ZX" and not int(fields[6]) & _KERNEL_THREAD and int(fields[19]) >= since:
            return None
    return False


def _environment(process: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/environ").read_bytes()
    return b""


def _has(environment: bytes, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def exit_code(told: int) -> int:
    """Return an exit code as a shell tells it, with minus the signal's number where a signal ended it."""
    return 128 - told if told - 128 in _ENDING_SIGNALS else told
