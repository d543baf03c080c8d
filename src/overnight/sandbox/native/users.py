"""Who owns files for a sandbox's user: maps for mounts, and user namespaces that belong to that user.

On disk everything belongs to one user, so that layers, checkpoints and forks need no change of owner. A
mount with a map (mount_setattr(2), `MOUNT_ATTR_IDMAP`) shows that user's files as the sandbox's own user's.
"""

import contextlib
import os
from collections.abc import Generator

from overnight.sandbox.native import syscalls


def write_maps(process: int, inside: tuple[int, int], outside: tuple[int, int], *, also_root: bool) -> None:
    """Say whom a process's user namespace knows.

    Args:
        process: a process in the namespace.
        inside: uid and gid there.
        outside: who these are here.
        also_root: know root too, as root: for a map of mounts only, never where something runs.

    Raises:
        OSError: the kernel refused; `filename` says what.
    """
    for kind, inner, outer in (("gid", inside[1], outside[1]), ("uid", inside[0], outside[0])):
        text = f"{inner} {outer} 1\n" + ("0 0 1\n" if also_root else "")
        write_file(f"/proc/{process}/{kind}_map", text)


def open_map(owner: tuple[int, int], shown: tuple[int, int]) -> int:
    """Return a user namespace that maps `owner`, on disk, to `shown`, and root to itself; nobody is in it.

    Root is there for what the kernel itself keeps in an overlay's work directory.

    Raises:
        OSError: the kernel refused.
    """
    waiting, going = os.pipe2(os.O_CLOEXEC)
    try:
        process = syscalls.clone(syscalls.CLONE_NEWUSER)
        if process == 0:
            try:
                os.close(going)
                os.read(waiting, 1)
            finally:
                os._exit(0)
        write_maps(process, owner, shown, also_root=True)
        return os.open(f"/proc/{process}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(going)
        os.close(waiting)


@contextlib.contextmanager
def effectively(user: int) -> Generator[None]:
    """Be `user` in name, with root's powers, while a user namespace is made.

    What the kernel counts for the users of a namespace counts for its maker too: inotify, pending signals,
    memory that is locked. Were that root, all sandboxes would have one share together.
    """
    if os.geteuid() != 0 or user == 0:
        yield
        return
    try:
        os.setresuid(-1, user, user)
        syscalls.raise_capabilities()
        # Files are still opened as root.
        syscalls.set_file_user(0)
        yield
    finally:
        os.setresuid(-1, 0, 0)
        # Such a change closes a process, and its children, to whoever may not trace all.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def write_file(path: str, text: str) -> None:
    """Write into a file of the kernel's.

    Raises:
        OSError: it refuses; `filename` says which.
    """
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(file)
