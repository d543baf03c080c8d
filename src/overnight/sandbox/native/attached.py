"""Overlays over detached mounts, also for kernels that take only what is mounted somewhere.

Before Linux 6.15 the layers of an overlay must be mounted in the caller's mount namespace. They are then
mounted for a moment in the namespace of a thread kept for that, which nobody else sees and which holds
nothing of the host: a copy of the host's mounts would keep volumes alive that were unmounted there.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from overnight.sandbox.native import syscalls

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_PLACE: Final = "/at"


def make_over(layers: Sequence[int], make: Callable[[], int]) -> int:
    """Return what `make` makes over the detached mounts `layers`.

    Raises:
        OSError: the kernel refuses either way.
    """
    try:
        return make()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return make_over_attached(layers, make)


def make_over_attached(layers: Sequence[int], make: Callable[[], int]) -> int:
    """As `make_over`, while the layers are mounted, out of sight.

    Raises:
        OSError: the kernel refuses.
    """
    return _stage().submit(_attached, layers, make).result()


def _attached(layers: Sequence[int], make: Callable[[], int]) -> int:
    mounted = 0
    try:
        for layer in layers:
            syscalls.attach(layer, _PLACE)
            mounted += 1
        return make()
    finally:
        for _ in range(mounted):
            syscalls.unmount(_PLACE)


@cache
def _stage() -> "ThreadPoolExecutor":
    # Most kernels need none, and every sandbox's first process has a copy of what is imported here.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, thread_name_prefix="mounts", initializer=_leave)


def _leave() -> None:
    """Give this thread mounts of its own: an empty root, and `/proc`, by which descriptors have names."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    root = "/tmp"  # noqa: S108  any folder that is surely there
    syscalls.mount("root", root, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=64k,mode=700")
    for name in ("/proc", _PLACE):
        os.mkdir(f"{root}{name}", 0o700)  # noqa: PTH102
    syscalls.mount("/proc", f"{root}/proc", None, syscalls.MS_BIND)
    os.chdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    with contextlib.suppress(OSError):
        os.chdir("/")
