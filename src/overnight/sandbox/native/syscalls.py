"""The system calls that Python 3.11 does not offer, as thin functions that raise `OSError`."""

import ctypes
import os
import struct
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

MOUNT_ATTR_RDONLY: Final = 1
MOUNT_ATTR_NOSUID: Final = 2
MOUNT_ATTR_NODEV: Final = 4
MOUNT_ATTR_NOEXEC: Final = 8
_MOUNT_ATTR_IDMAP: Final = 0x00100000

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE: Final = 1
_CLOEXEC: Final = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_FSCONFIG_CMD_RECONFIGURE: Final = 7
_FSPICK_CLOEXEC: Final = 1
_FSPICK_EMPTY_PATH: Final = 8
_SECCOMP_SET_MODE_FILTER: Final = 1

# Numbers from 424 on are the same everywhere.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _FSPICK, _MOUNT_SETATTR = (
    428,
    429,
    430,
    431,
    432,
    433,
    442,
)
_CLONE, _PIVOT_ROOT, _CAPGET, _CAPSET, _SECCOMP, _SETNS = {
    "x86_64": (56, 155, 125, 126, 317, 308),
    "aarch64": (220, 41, 90, 91, 277, 268),
}.get(os.uname().machine, (-1, -1, -1, -1, -1, -1))

_CAPABILITIES_OF_OURSELVES: Final = struct.pack("=Ii", 0x20080522, 0)
"""Version 3 of the format, and the caller's own."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def call(number: int, *arguments: _Argument) -> int:
    """Make a system call; integers go as `long`.

    Raises:
        OSError: the kernel refused.
    """
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = _libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        _fail()
    return result


def _fail(what: str | None = None) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what)


def clone(flags: int) -> int:
    """Fork into new namespaces, as `os.fork`: for a process of one thread only, no hooks of Python's run."""
    return call(_CLONE, flags | 17, 0, 0, 0, 0)  # SIGCHLD


def unshare(flags: int) -> None:
    """Enter new namespaces; of the mounts and the like for the calling thread alone."""
    if _libc.unshare(ctypes.c_int(flags)) < 0:
        _fail()


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """See mount(2)."""
    given = ctypes.c_ulong(flags)
    kind_bytes = kind.encode() if kind is not None else None
    if _libc.mount(source.encode(), os.fsencode(target), kind_bytes, given, options.encode()) < 0:
        _fail(target)


def unmount(target: str) -> None:
    """Detach what is mounted at `target`, with all below."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH) < 0:
        _fail(target)


def pivot_root(new: str, old: str) -> None:
    """See pivot_root(2)."""
    call(_PIVOT_ROOT, os.fsencode(new), os.fsencode(old))


def prctl(option: int, value: int, third: int = 0) -> None:
    """See prctl(2)."""
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(third), 0, 0) < 0:
        _fail()


def name_process(name: str) -> None:
    """Set the process's name as `ps` shows it, at most 15 bytes, and wipe its command line.

    The command line is for all to read, inside a sandbox too, and ours has paths of the host.
    """
    _libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    if begin and name.encode() not in ctypes.string_at(begin, end - begin).split(b"\0"):
        ctypes.memset(begin, 0, end - begin)
        ctypes.memmove(begin, name.encode()[: end - begin - 1], min(len(name), end - begin - 1))


def open_tree(path: str, *, below: bool = True) -> int:
    """Return a descriptor of a detached copy of what is mounted at `path`, and `below` it too."""
    flags = _OPEN_TREE_CLONE | _CLOEXEC | (_AT_RECURSIVE if below else 0)
    try:
        return call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def set_attributes(tree: int, attributes: int, users: int | None = None) -> None:
    """Set `MOUNT_ATTR_*` on a detached mount and all below it.

    Args:
        users: a user namespace; owners are shown as it maps them.
    """
    if users is not None:
        attributes |= _MOUNT_ATTR_IDMAP
    given = struct.pack("=QQQQ", attributes, 0, 0, 0 if users is None else users)
    call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, given, len(given))


def attach(tree: int, target: str) -> None:
    """Put a detached mount where `target` is."""
    try:
        call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None


def make_mount(kind: str, options: list[tuple[str, str | None]], attributes: int) -> int:
    """Return a descriptor of a new, detached file system; an option of None is a flag."""
    context = call(_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC)
    try:
        for key, value in options:
            if value is None:
                call(_FSCONFIG, context, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
            else:
                call(_FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
        call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        said = _said(context)
        raise OSError(error.errno, f"{error.strerror}{f' ({said})' if said else ''}", kind) from None
    finally:
        os.close(context)


def forget_names(mount: int) -> None:
    """Have a mounted file system look anew at what lies beneath it: remounting drops what it remembers."""
    context = call(_FSPICK, mount, b"", _FSPICK_CLOEXEC | _FSPICK_EMPTY_PATH)
    try:
        call(_FSCONFIG, context, _FSCONFIG_CMD_RECONFIGURE, None, None, 0)
    finally:
        os.close(context)


def open_signal(number: int) -> int:
    """Return a descriptor that can be read when a blocked signal has come; see signalfd(2)."""
    blocked = (1 << (number - 1)).to_bytes(128, "little")
    descriptor: int = _libc.signalfd(-1, blocked, os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        _fail()
    return descriptor


def enter(namespace: int, kind: int) -> None:
    """Enter a namespace of that kind (`CLONE_NEW*`)."""
    call(_SETNS, namespace, kind)


def _said(context: int) -> str:
    """Return what the kernel has to say of a file system that could not be made."""
    try:
        return os.read(context, 4096).decode(errors="replace").strip()
    except OSError:
        return ""


def renounce_capabilities() -> None:
    """Let nothing that this process will execute gain a capability; its own stay, as `CAP_SETPCAP` must."""
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # beyond the last that this kernel knows
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def drop_capabilities() -> None:
    """Give up every capability that this process has."""
    call(_CAPSET, _CAPABILITIES_OF_OURSELVES, bytes(24))


def raise_capabilities() -> None:
    """Make effective every capability that this process is permitted."""
    sets = ctypes.create_string_buffer(24)
    call(_CAPGET, _CAPABILITIES_OF_OURSELVES, sets)
    # Twice effective, permitted, inheritable: the lower and the upper half.
    _, low, kept_low, _, high, kept_high = struct.unpack("=6I", sets.raw)
    call(_CAPSET, _CAPABILITIES_OF_OURSELVES, struct.pack("=6I", low, low, kept_low, high, high, kept_high))


def set_file_user(user: int) -> None:
    """Open files as `user` from now on; see setfsuid(2)."""
    _libc.setfsuid(user)


def filter_calls(program: bytes) -> None:
    """Put a seccomp filter (an array of `struct sock_filter`) on; needs `no_new_privs`."""
    code = ctypes.create_string_buffer(program, len(program))
    given = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    call(_SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, given)
