"""Detached mounts made from plain descriptions, and attached inside a sandbox's own root.

A description is a JSON object: `target`, and either `source` (a path to bind) with `writable` and
`devices`, or `overlay` with `lower` (top first), `upper`, `work`. Started by root the host makes the
mounts and hands them in; as an ordinary user the sandbox's first process does, in its user namespace.
"""

import contextlib
import errno
import os
import stat
from typing import Any, Final

from overnight.sandbox.native import syscalls

_MAX_VALUE: Final = 255
"""Bytes that fsconfig(2) takes as a value."""
_OPAQUE: Final = "userxattr"


def open_mount(mount: dict[str, Any], *, privileged: bool) -> int:
    """Return a descriptor of the detached mount that `mount` describes.

    Raises:
        OSError: a source is missing, or the kernel refuses; `filename` says which.
    """
    if "overlay" in mount:
        return _open_overlay(mount["overlay"], privileged=privileged)
    tree = syscalls.open_tree(mount["source"])
    try:
        attributes = syscalls.MOUNT_ATTR_NOSUID
        if not mount.get("devices"):
            attributes |= syscalls.MOUNT_ATTR_NODEV
        if not mount.get("writable"):
            attributes |= syscalls.MOUNT_ATTR_RDONLY
        syscalls.set_attributes(tree, attributes)
    except OSError:
        os.close(tree)
        raise
    return tree


def _open_overlay(overlay: dict[str, Any], *, privileged: bool) -> int:
    """Make the overlay; names go as descriptors, for which even many layers fit a value's 255 bytes."""
    opened: list[int] = []

    def short(path: str) -> str:
        opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        return f"/proc/self/fd/{opened[-1]}"

    _forget(overlay["work"])
    try:
        lower = [short(path) for path in overlay["lower"]]
        joined = ":".join(lower)
        options: list[tuple[str, str | None]] = []
        if len(joined) <= _MAX_VALUE:
            options.append(("lowerdir", joined))
        else:
            options += [("lowerdir+", path) for path in lower]
        options += [("upperdir", short(overlay["upper"])), ("workdir", short(overlay["work"]))]
        refused = OSError(errno.EINVAL, "no way to mount an overlay")
        for extra in _variants(privileged=privileged):
            try:
                return syscalls.make_mount(
                    "overlay", [*options, *extra], syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
                )
            except OSError as error:
                refused = error
                if error.errno not in {errno.EINVAL, errno.EPERM}:
                    break
        raise OSError(refused.errno, refused.strerror, overlay["upper"])
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _forget(work: str) -> None:
    """Remove the mark with which a volatile mount refuses the next: these files outlive no crash anyway."""
    with contextlib.suppress(OSError):
        os.unlink(f"{work}/work/incompat/volatile/dirty")  # noqa: PTH108
        os.rmdir(f"{work}/work/incompat/volatile")  # noqa: PTH106
        os.rmdir(f"{work}/work/incompat")  # noqa: PTH106


def _variants(*, privileged: bool) -> list[list[tuple[str, str | None]]]:
    """Return the options to try, the best first.

    The upper layer's marks are `user.overlay.*` in both ways, which is what `environments` reads: so the
    layers of one stay good for the other, and renamed folders are copied (no `redirect_dir`).
    """
    volatile: tuple[str, str | None] = ("volatile", None)
    marks: tuple[str, str | None] = (_OPAQUE, None)
    if privileged:
        return [[marks, volatile], [marks]]
    return [[marks, volatile], [marks], []]


def attach(tree: int, target: str) -> None:
    """Put a detached mount at `target`, which is made if it is missing.

    Raises:
        OSError: it cannot be made or mounted upon.
    """
    is_folder = stat.S_ISDIR(os.stat(tree).st_mode)
    if is_folder:
        make_folders(target)
    else:
        make_folders(os.path.dirname(target))  # noqa: PTH120
        with contextlib.suppress(FileExistsError):
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    syscalls.attach(tree, target)


def make_folders(path: str) -> None:
    """Make a folder and those above it, open to all."""
    if not os.path.isdir(path):  # noqa: PTH112
        make_folders(os.path.dirname(path))  # noqa: PTH120
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)  # noqa: PTH102


def mount_memory(target: str, size: int, mode: int, *, attributes: int = 0) -> None:
    """Mount a file system in memory at `target`, bounded to `size` bytes."""
    make_folders(target)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | attributes
    syscalls.mount("tmpfs", target, "tmpfs", flags, f"size={size},mode={mode:o},nr_inodes=1048576")


def protect(target: str, *, flags: int = 0) -> None:
    """Make what is mounted or lies at `target` read-only, where it exists."""
    if os.path.lexists(target):
        bind = syscalls.MS_BIND | syscalls.MS_REC
        syscalls.mount(target, target, None, bind)
        keep = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC | flags
        syscalls.mount(
            "none", target, None, syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | keep
        )


def hide(target: str, folder: str, file: str) -> None:
    """Cover `target`, where it exists, with an empty folder or file."""
    if os.path.lexists(target):
        is_folder = os.path.isdir(target)  # noqa: PTH112
        syscalls.mount(folder if is_folder else file, target, None, syscalls.MS_BIND)
