"""The filter is interpreted here, so that the one for the other architecture is tested too."""

import errno
import struct

import pytest

from overnight.sandbox.seccomp import ARCHITECTURES, seccomp_filter

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NAMES = ("read", "clone", "socket", "ioctl", "mount", "ptrace", "bpf", "execve")
NUMBERS = {
    "x86_64": dict(zip(_NAMES, (0, 56, 41, 16, 165, 101, 321, 59), strict=True)),
    "aarch64": dict(zip(_NAMES, (63, 220, 198, 29, 40, 117, 280, 221), strict=True)),
}


def judge(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """Run the filter on one system call, as linux/filter.h says, and return its verdict."""
    given = [*arguments, *(0 for _ in range(6 - len(arguments)))]
    data = struct.pack("=iIQ6Q", number, AUDIT[machine] if audit is None else audit, 0, *given)
    program = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    position, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            position += if_true if holds else if_false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_verdicts(machine: str) -> None:
    numbers = NUMBERS[machine]
    assert judge(machine, numbers["read"]) == ALLOW
    assert judge(machine, numbers["execve"]) == ALLOW
    for name in ("mount", "ptrace", "bpf"):
        assert judge(machine, numbers[name]) == EPERM
    for number in (425, 426, 427, 428, 438, 442, 467):
        assert judge(machine, number) == EPERM
    assert judge(machine, 435) == ENOSYS
    assert judge(machine, 434) == ALLOW  # pidfd_open
    assert judge(machine, numbers["clone"], 0x3D0F00) == ALLOW  # what a thread asks for
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert judge(machine, numbers["clone"], flag | 17) == EPERM
    for family in (1, 2, 10):
        assert judge(machine, numbers["socket"], family, 1, 0) == ALLOW
    assert judge(machine, numbers["socket"], 16, 3, 0) == ALLOW
    assert judge(machine, numbers["socket"], 16, 3, 12) == EPERM
    for family in (15, 17, 31, 38, 40):
        assert judge(machine, numbers["socket"], family, 1, 0) == EPERM
    assert judge(machine, numbers["ioctl"], 0, 0x5412) == EPERM
    assert judge(machine, numbers["ioctl"], 0, 0x541C | 1 << 32) == EPERM
    assert judge(machine, numbers["ioctl"], 0, 0x5413) == ALLOW


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_another_architecture_is_killed(machine: str) -> None:
    for audit in (0x40000003, 0x40000028, 0):
        assert judge(machine, NUMBERS[machine]["read"], audit=audit) == KILL
    assert judge("x86_64", 0x40000000) == KILL
