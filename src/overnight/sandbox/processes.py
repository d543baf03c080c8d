"""Resource limits of another process, set from outside before it goes on."""

import contextlib
import os
import platform
import re
import resource
from math import ceil

from overnight.domain.limits import Limits


def _lower(process: int, kind: int, value: int) -> None:
    # Raising a limit takes a capability that root in a container lacks; lowering never does.
    _, hard = resource.prlimit(process, kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(process, kind, (bound, bound))


def lower_limits(process: int, limits: Limits, processes: int | None = None) -> None:
    """Bound file size, open files and core dumps of `process` and all that it will start.

    Args:
        processes: also a bound on how many processes its user may have in its user namespace.
    """
    with contextlib.suppress(ProcessLookupError):
        _lower(process, resource.RLIMIT_CORE, 0)
        _lower(process, resource.RLIMIT_FSIZE, limits.file_bytes)
        _lower(process, resource.RLIMIT_NOFILE, limits.open_files)
        _lower(process, resource.RLIMIT_CPU, ceil(limits.cpu_seconds) + 1)
        if processes is not None:
            _lower(process, resource.RLIMIT_NPROC, processes)


def counts_processes_apart() -> bool:
    """Say whether the kernel (5.14 on) counts a user's processes for each user namespace apart."""
    numbers = re.findall(r"\d+", platform.release())
    return os.geteuid() == 0 or [int(number) for number in numbers[:2]] >= [5, 14]
