"""The system-call filter of the namespaces sandbox, as classic BPF made by hand for two architectures.

It closes what a process without privileges has no need of and what kernel exploits start from; the
namespaces already contain ordinary files and sockets, so those stay open.
"""

import errno
import struct
from collections.abc import Mapping
from typing import Final

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
_ABSENT: Final = 0x00050000 | errno.ENOSYS

# Offsets in struct seccomp_data (linux/seccomp.h); arguments are 64 bits, little endian.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_NEW_NAMESPACES: Final = 0x7E020000  # all CLONE_NEW* flags that clone(2) knows
_FAMILIES: Final = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_NETLINK: Final = 16  # only with protocol 0, NETLINK_ROUTE: netfilter's netlink is a usual way to root
_TERMINAL_TRICKS: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: put words into the caller's terminal
_X32: Final = 0x40000000
_FEW: Final = 12
"""So many numbers are compared one after the other."""

# Numbers from 424 on are the same everywhere.
_REFUSED_ANYWHERE: Final[Mapping[str, int]] = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "open_tree_attr": 467,
}
_REFUSED: Final[Mapping[str, Mapping[str, int]]] = {
    "x86_64": {
        "ptrace": 101,
        "syslog": 103,
        "vhangup": 153,
        "modify_ldt": 154,
        "pivot_root": 155,
        "chroot": 161,
        "acct": 163,
        "settimeofday": 164,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "swapoff": 168,
        "reboot": 169,
        "sethostname": 170,
        "setdomainname": 171,
        "iopl": 172,
        "ioperm": 173,
        "init_module": 175,
        "delete_module": 176,
        "quotactl": 179,
        "lookup_dcookie": 212,
        "clock_settime": 227,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "unshare": 272,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "open_by_handle_at": 304,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": {
        "lookup_dcookie": 18,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "chroot": 51,
        "vhangup": 58,
        "quotactl": 60,
        "acct": 89,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "clock_settime": 112,
        "syslog": 116,
        "ptrace": 117,
        "reboot": 142,
        "sethostname": 161,
        "setdomainname": 162,
        "settimeofday": 170,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "swapon": 224,
        "swapoff": 225,
        "perf_event_open": 241,
        "fanotify_init": 262,
        "open_by_handle_at": 265,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
    },
}
# AUDIT_ARCH_* value, and the numbers of clone, clone3, socket, ioctl.
_SPECIAL: Final[Mapping[str, tuple[int, int, int, int, int]]] = {
    "x86_64": (0xC000003E, 56, 435, 41, 16),
    "aarch64": (0xC00000B7, 220, 435, 198, 29),
}

ARCHITECTURES: Final = tuple(_SPECIAL)
"""Values of `platform.machine()` for which there is a filter."""
FAMILIES: Final = _FAMILIES
"""Socket families that stay open whatever the protocol; netlink only with protocol 0."""
NEW_NAMESPACES: Final = _NEW_NAMESPACES
"""The flags of clone(2) that are refused."""
TERMINAL_TRICKS: Final = _TERMINAL_TRICKS
"""The requests of ioctl(2) that are refused."""


def refused_names(machine: str) -> tuple[str, ...]:
    """Return the names of the calls that are refused whatever their arguments; `KeyError` as below."""
    return tuple(sorted({*_REFUSED[machine], *_REFUSED_ANYWHERE}))


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _one_of(offset: int, values: tuple[int, ...]) -> list[bytes]:
    """Refuse a call when the argument at `offset` is one of `values`."""
    body = [_instruction(_LOAD, offset)]
    for value in values:
        body += [_instruction(_IF_EQUAL, value, 0, 1), _instruction(_RETURN, _REFUSE)]
    return [*body, _instruction(_RETURN, _ALLOW)]


def _socket() -> list[bytes]:
    allow, refuse = _instruction(_RETURN, _ALLOW), _instruction(_RETURN, _REFUSE)
    body = [_instruction(_LOAD, _ARGUMENTS)]
    for family in _FAMILIES:
        body += [_instruction(_IF_EQUAL, family, 0, 1), allow]
    return [
        *body,
        _instruction(_IF_EQUAL, _NETLINK, 1, 0),
        refuse,
        _instruction(_LOAD, _ARGUMENTS + 16),
        _instruction(_IF_EQUAL, 0, 0, 1),
        allow,
        refuse,
    ]


def _clone() -> list[bytes]:
    return [
        _instruction(_LOAD, _ARGUMENTS),
        _instruction(_IF_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]


def _search(numbers: list[int], special: Mapping[int, list[bytes]]) -> list[bytes]:
    """Refuse `numbers` (sorted), but go on with what `special` says for some, and allow the rest.

    By halves: when a filter is put on, the kernel walks it for every call there is, to know which ones it
    always allows.
    """
    if len(numbers) > _FEW:
        middle = len(numbers) // 2
        low, high = _search(numbers[:middle], special), _search(numbers[middle:], special)
        return [_instruction(_IF_AT_LEAST, numbers[middle], len(low), 0), *low, *high]
    program: list[bytes] = []
    for number in numbers:
        if number in special:
            program += [_instruction(_IF_EQUAL, number, 0, len(special[number])), *special[number]]
    plain = [number for number in numbers if number not in special]
    for index, number in enumerate(plain):
        program.append(_instruction(_IF_EQUAL, number, len(plain) - index, 0))
    return [*program, _instruction(_RETURN, _ALLOW), _instruction(_RETURN, _REFUSE)]


def allow_only(machine: str, numbers: tuple[int, ...]) -> bytes:
    """Return a filter that refuses every call but those of `numbers`; `KeyError` as below."""
    program = _opening(machine)
    for index, number in enumerate(numbers):
        program.append(_instruction(_IF_EQUAL, number, len(numbers) - index, 0))
    program += [_instruction(_RETURN, _REFUSE), _instruction(_RETURN, _ALLOW)]
    return b"".join(program)


def _opening(machine: str) -> list[bytes]:
    """Load the call's number; end a process that calls as another architecture would."""
    kill = _instruction(_RETURN, _KILL)
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_IF_EQUAL, _SPECIAL[machine][0], 1, 0),
        kill,
        _instruction(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        program += [_instruction(_IF_AT_LEAST, _X32, 0, 1), kill]
    return program


def seccomp_filter(machine: str) -> bytes:
    """Return the filter as an array of `struct sock_filter`, the form that `bwrap --seccomp` reads.

    Args:
        machine: what `platform.machine()` says; one of `ARCHITECTURES`.

    Raises:
        KeyError: there is no filter for that architecture.
    """
    _, clone, clone3, socket, ioctl = _SPECIAL[machine]
    special = {
        # libc falls back from clone3, whose flags lie in memory that a filter cannot read, to clone.
        clone3: [_instruction(_RETURN, _ABSENT)],
        clone: _clone(),
        socket: _socket(),
        ioctl: _one_of(_ARGUMENTS + 8, _TERMINAL_TRICKS),
    }
    numbers = sorted({*_REFUSED[machine].values(), *_REFUSED_ANYWHERE.values(), *special})
    return b"".join([*_opening(machine), *_search(numbers, special)])
