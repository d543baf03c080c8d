"""Our system-call filter in the form that container engines read.

The format is that of Docker's and Podman's `--security-opt seccomp=FILE` (containers/common,
pkg/seccomp): a default action and rules over named calls, which libseccomp compiles.
"""

import errno
import json
from typing import Any, Final

from overnight.sandbox.seccomp import FAMILIES, NEW_NAMESPACES, TERMINAL_TRICKS, refused_names

_ARCHITECTURES: Final = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_NETLINK: Final = 16
_LAST_FAMILY: Final = 45
_INT: Final = 0xFFFFFFFF


def _refuse(names: list[str], *arguments: dict[str, int | str], code: int = errno.EPERM) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": code, "args": list(arguments)}


def _argument(index: int, operator: str, value: int, second: int = 0) -> dict[str, int | str]:
    return {"index": index, "op": f"SCMP_CMP_{operator}", "value": value, "valueTwo": second}


def seccomp_profile(machine: str) -> str:
    """Return the profile as JSON: what `seccomp_filter` refuses, and other architectures killed.

    Args:
        machine: what `platform.machine()` says.

    Raises:
        KeyError: there is no filter for that architecture.
    """
    rules = [
        _refuse(list(refused_names(machine))),
        # libc falls back from clone3, whose flags lie in memory that a filter cannot read, to clone.
        _refuse(["clone3"], code=errno.ENOSYS),
    ]
    bits = [1 << place for place in range(32) if NEW_NAMESPACES >> place & 1]
    rules += [_refuse(["clone"], _argument(0, "MASKED_EQ", bit, bit)) for bit in bits]
    # The kernel looks at the low half of the argument; a number with a high half is refused by the last.
    families = [one for one in range(_LAST_FAMILY + 1) if one not in (*FAMILIES, _NETLINK)]
    rules += [_refuse(["socket"], _argument(0, "EQ", family)) for family in families]
    rules.append(_refuse(["socket"], _argument(0, "EQ", _NETLINK), _argument(2, "NE", 0)))
    rules.append(_refuse(["socket"], _argument(0, "GT", _LAST_FAMILY)))
    rules += [_refuse(["ioctl"], _argument(1, "MASKED_EQ", _INT, request)) for request in TERMINAL_TRICKS]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [_ARCHITECTURES[machine]],
        "syscalls": rules,
    }
    return json.dumps(profile, indent=1)
