"""Builds a sandbox's own root from nothing, in its first process, and gives up every privilege after.

Two halves: `build` makes what all sandboxes have in common, so that it can be done ahead; `finish` adds
one attempt's workspace and closes the door.
"""

import contextlib
import os
import resource
import socket
from typing import Any, Final

from overnight.sandbox.native import landlock, syscalls
from overnight.sandbox.native.mounts import (
    attach,
    hide,
    make_folders,
    mount_memory,
    open_mount,
    protect,
    resize_memory,
)

OLD_ROOT: Final = "/.old"
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS: Final = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)
_READ_ONLY: Final = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
_HIDDEN: Final = (
    "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/kmsg", "/proc/kallsyms", "/proc/kpagecount", "/proc/kpageflags",
    "/proc/kpagecgroup", "/proc/acpi", "/proc/scsi", "/proc/asound", "/proc/dynamic_debug",
)  # fmt: skip
_MEMORY_ROOT: Final = 4 * 1024**2
_SHARES: Final = 8
"""One part in so many of the caller's inotify instances and watches is for a sandbox."""
_LEAST_WATCHES: Final = 8


def build(base: dict[str, Any], opened: list[int]) -> None:
    """Make the root, its devices, `/proc` and the folders in memory.

    The host's root stays visible below `OLD_ROOT` where `finish` has to make mounts from it.

    Args:
        base: `uid`, `gid`, `hostname`, `mounts`, `links`, `folders`, `memory` and `memory_bytes` of the plan,
            and its own `kuid`, or None where it shares one.
        opened: the mounts, where the host's root made them; else they are made here.

    Raises:
        OSError: the kernel refused something; `filename` says what.
    """
    # Started by root we are nobody in our own user namespace until we become the one user it knows.
    os.setresgid(base["gid"], base["gid"], base["gid"])
    os.setresuid(base["uid"], base["uid"], base["uid"])
    os.umask(0o022)
    socket.sethostname(base["hostname"])
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    mounts: list[dict[str, Any]] = base["mounts"]
    made_by_us = not opened
    if made_by_us:
        opened = [open_mount(mount, privileged=False) for mount in mounts]
    devices = {name: syscalls.open_tree(f"/dev/{name}") for name in _DEVICES}
    _enter_new_root()
    for link, target in base["links"]:
        os.symlink(target, link)  # noqa: PTH211
    for folder in base["folders"]:
        make_folders(folder)
    _attach_all(mounts, opened)
    _make_devices(devices)
    _make_proc(shared=base["kuid"] is None)
    for target, mode in base["memory"]:
        mount_memory(target, base["memory_bytes"], mode)
    if not made_by_us:
        _close_old_root()
    syscalls.renounce_capabilities()


def _attach_all(mounts: list[dict[str, Any]], opened: list[int]) -> None:
    for mount, tree in zip(mounts, opened, strict=True):
        attach(tree, mount["target"])
        os.close(tree)


def _enter_new_root() -> None:
    """Make an empty root in memory and go there; what is mounted in `/tmp` comes free again by the pivot."""
    place = "/tmp"  # noqa: S108  any folder that is surely there
    syscalls.mount(
        "root", place, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, f"size={_MEMORY_ROOT},mode=755"
    )
    old = f"{place}{OLD_ROOT}"
    os.mkdir(old, 0o700)  # noqa: PTH102
    syscalls.pivot_root(place, old)
    os.chdir("/")


def _make_devices(devices: dict[str, int]) -> None:
    mount_memory("/dev", _MEMORY_ROOT, 0o755, attributes=syscalls.MS_NOEXEC)
    for name, tree in devices.items():
        attach(tree, f"/dev/{name}")
        os.close(tree)
    for target, link in _LINKS:
        os.symlink(target, link)  # noqa: PTH211
    os.mkdir("/dev/pts", 0o755)  # noqa: PTH102
    os.mkdir("/dev/shm", 0o1777)  # noqa: PTH102, S108
    with contextlib.suppress(OSError):  # no terminals then
        flags = syscalls.MS_NOSUID | syscalls.MS_NOEXEC
        syscalls.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=620")


def _make_proc(*, shared: bool) -> None:
    os.mkdir("/proc", 0o555)  # noqa: PTH102
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", "/proc", "proc", flags)
    # Counted for each user namespace: nothing inside can make another one.
    with open("/proc/sys/user/max_user_namespaces", "w") as file:  # noqa: PTH123
        file.write("0")
    if shared:
        _share_watches()
    for path in _READ_ONLY:
        protect(path)
    os.mkdir("/.empty", 0o555)  # noqa: PTH102
    protect("/.empty")
    for path in _HIDDEN:
        hide(path, "/.empty", "/dev/null")


def _share_watches() -> None:
    """Bound inotify to a share: what is used here counts against whoever started us as well.

    Without it one sandbox takes the last instance, and neither the host nor another sandbox gets any.
    """
    for what in ("instances", "watches"):
        with contextlib.suppress(OSError, ValueError):  # a kernel that does not count them
            with open(f"/proc/sys/fs/inotify/max_user_{what}") as file:  # noqa: PTH123
                share = max(_LEAST_WATCHES, int(file.read()) // _SHARES)
            with open(f"/proc/sys/user/max_inotify_{what}", "w") as file:  # noqa: PTH123
                file.write(str(share))


def finish(claim: dict[str, Any], opened: list[int], rules: landlock.Ruleset | None) -> None:
    """Add one workspace, drop every privilege, and close the door to the host's files.

    Args:
        claim: `mounts`, `memory`, `memory_bytes`, `writable` and `limits` of the plan.
        opened: as for `build`.
        rules: to which the places that may be written are added.

    Raises:
        OSError: as for `build`.
    """
    mounts: list[dict[str, Any]] = claim["mounts"]
    made_by_us = not opened
    if made_by_us:
        opened = _open_from_old_root(mounts)
    for target in claim["memory"]:
        resize_memory(target, claim["memory_bytes"])
    if made_by_us:
        # First: a link that an earlier sandbox left in its home must not lead there.
        _close_old_root()
    _attach_all(mounts, opened)
    # Both are memory without use for more; nothing has to be made in them any longer.
    for target, flags in (("/dev", syscalls.MS_NOEXEC), ("/", 0)):
        keep = (
            syscalls.MS_REMOUNT
            | syscalls.MS_BIND
            | syscalls.MS_RDONLY
            | syscalls.MS_NOSUID
            | syscalls.MS_NODEV
        )
        syscalls.mount("none", target, None, keep | flags)
    if rules is not None:
        for path in claim["writable"]:
            rules.open(path)
    _bound(claim["limits"])
    syscalls.drop_capabilities()
    # What is not dumpable belongs to root in /proc: no one inside can read or write this process.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if rules is not None:
        rules.restrict()


def rehearse() -> None:
    """Do without effect what `finish` will do, ahead: the first time copies pages that processes share."""
    place = "/.empty"
    attach(syscalls.open_tree(place), place)
    syscalls.unmount(place)
    landlock.Ruleset().close()
    _bound({name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in ("CORE", "NOFILE")})


def _close_old_root() -> None:
    syscalls.unmount(OLD_ROOT)
    os.rmdir(OLD_ROOT)  # noqa: PTH106


def _open_from_old_root(mounts: list[dict[str, Any]]) -> list[int]:
    """Make the mounts with the host's paths meaning what they mean on the host."""
    inside = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chroot(OLD_ROOT)
    try:
        return [open_mount(mount, privileged=False) for mount in mounts]
    finally:
        os.fchdir(inside)
        os.chroot(".")
        os.close(inside)


def _bound(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        # Raising takes a capability that root in a container lacks; lowering never does.
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
