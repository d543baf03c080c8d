"""Detached mounts made from plain descriptions, and attached inside a sandbox's own root.

A description is a JSON object: `target`, and either `source` (a path to bind) with `writable`, `devices`
and `mapped`, or `overlay` with `lower` (top first), `upper`, `work`. Started by root the host makes the
mounts and hands them in; as an ordinary user the sandbox's first process does, in its user namespace.

With a map of users (see `users`) what is `mapped` shows the owner on disk as the sandbox's own user, and so
does an overlay, whose layers are mapped (Linux 5.19). A kernel or a file system may refuse that.
"""

import contextlib
import errno
import os
import stat
from functools import partial
from typing import Any, Final

from overnight.sandbox.native import syscalls
from overnight.sandbox.native.attached import make_over

_MAX_VALUE: Final = 255
"""Bytes that fsconfig(2) takes as a value."""
_OPAQUE: Final = "userxattr"


class MapRefusedError(OSError):
    """A kernel or file system that cannot show files as another user's."""


def open_mount(
    mount: dict[str, Any], *, privileged: bool, users: int | None = None, spent: list[int] | None = None
) -> int:
    """Return a descriptor of the detached mount that `mount` describes.

    Args:
        users: a user namespace that maps the owner of files on disk to the sandbox's user.
        spent: gets the descriptors that are no longer needed, to be closed when there is time: it takes the
            kernel a while to let a detached mount go. They are closed here without.

    Raises:
        OSError: a source is missing, or the kernel refuses; `filename` says which.
        MapRefusedError: only the map is refused.
    """
    if "overlay" in mount:
        opened: list[int] = []
        try:
            return _open_overlay(mount["overlay"], opened, privileged=privileged, users=users)
        finally:
            if spent is not None:
                spent += opened
            else:
                close_all(opened)
    tree = syscalls.open_tree(mount["source"])
    try:
        attributes = syscalls.MOUNT_ATTR_NOSUID
        if not mount.get("devices"):
            attributes |= syscalls.MOUNT_ATTR_NODEV
        if not mount.get("writable"):
            attributes |= syscalls.MOUNT_ATTR_RDONLY
        if users is None or not mount.get("mapped"):
            syscalls.set_attributes(tree, attributes)
            return tree
        try:
            _set_mapped(tree, attributes, users, mount["source"])
        except MapRefusedError:
            if mount.get("writable"):
                raise
            # Such as objects on another file system: whose they are matters little, while all may read them.
            syscalls.set_attributes(tree, attributes)
    except OSError:
        os.close(tree)
        raise
    return tree


def _set_mapped(tree: int, attributes: int, users: int, path: str) -> None:
    try:
        syscalls.set_attributes(tree, attributes, users)
    except OSError as error:
        raise MapRefusedError(error.errno, error.strerror, path) from error


def _open_mapped(path: str, users: int) -> int:
    """Return a detached copy of the mount at `path`, without what is mounted below, that shows owners mapped.

    Raises:
        OSError: the path is missing.
        MapRefusedError: the map is refused.
    """
    tree = syscalls.open_tree(path, below=False)
    try:
        _set_mapped(tree, 0, users, path)
    except OSError:
        os.close(tree)
        raise
    return tree


def close_all(descriptors: list[int]) -> None:
    """Close descriptors and empty their list."""
    while descriptors:
        os.close(descriptors.pop())


def _open_overlay(
    overlay: dict[str, Any], opened: list[int], *, privileged: bool, users: int | None = None
) -> int:
    """Make the overlay; names go as descriptors, for which even many layers fit a value's 255 bytes.

    Args:
        opened: gets what was opened for it.
    """

    def short(path: str) -> str:
        if users is None:
            opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        else:
            opened.append(_open_mapped(path, users))
        return f"/proc/self/fd/{opened[-1]}"

    upper, work = overlay["upper"], overlay["work"]
    _forget(work)
    lower = [short(path) for path in overlay["lower"]]
    joined = ":".join(lower)
    options: list[tuple[str, str | None]] = []
    if len(joined) <= _MAX_VALUE:
        options.append(("lowerdir", joined))
    else:
        options += [("lowerdir+", path) for path in lower]
    if users is None:
        options += [("upperdir", short(upper)), ("workdir", short(work))]
    else:
        # Both must be of one mount.
        above = os.path.commonpath((upper, work))
        whole = short(above)
        options.append(("upperdir", f"{whole}/{os.path.relpath(upper, above)}"))
        options.append(("workdir", f"{whole}/{os.path.relpath(work, above)}"))
    return _make_overlay(options, upper, privileged=privileged, layers=opened if users is not None else [])


def _make_overlay(
    options: list[tuple[str, str | None]], upper: str, *, privileged: bool, layers: list[int]
) -> int:
    attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    refused = OSError(errno.EINVAL, "no way to mount an overlay")
    for extra in _variants(privileged=privileged):
        try:
            if not layers:
                return syscalls.make_mount("overlay", [*options, *extra], attributes)
            return make_over(layers, partial(syscalls.make_mount, "overlay", [*options, *extra], attributes))
        except OSError as error:
            refused = error
            if error.errno not in {errno.EINVAL, errno.EPERM}:
                break
    kind = MapRefusedError if layers else OSError
    raise kind(refused.errno, refused.strerror, upper)


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


def resize_memory(target: str, size: int) -> None:
    """Bound the file system in memory at `target` to `size` bytes."""
    flags = syscalls.MS_REMOUNT | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", target, "tmpfs", flags, f"size={size}")


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
