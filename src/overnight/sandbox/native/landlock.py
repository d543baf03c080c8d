"""Landlock as belt and braces: files are writable in the places meant for it, whatever is mounted.

Constants and layouts are those of the kernel's `linux/landlock.h`.
"""

import contextlib
import os
import stat
import struct
from typing import Final

from overnight.sandbox.native.syscalls import call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG: Final = 1
_RULE_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_WRITE: Final = (
    _WRITE_FILE | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
)
"""Writing, removing and making entries of every kind."""
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # from ABI 2, from ABI 3
_SCOPES: Final = 3  # from ABI 6: abstract unix sockets and signals of others
_FOR_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


def version() -> int:
    """Return the version of Landlock that this kernel has; 0 when there is none."""
    try:
        return call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


class Ruleset:
    """What a process may do with files: read all, write existing files below `/dev` and `/proc`, and no more.

    Raises:
        OSError: the kernel has no Landlock.
    """

    def __init__(self) -> None:
        abi = version()
        self._all = _EXECUTE | _READ_FILE | _READ_DIR | _WRITE
        self._all |= _REFER if abi >= 2 else 0
        self._all |= _TRUNCATE if abi >= 3 else 0
        attributes = struct.pack("=QQQ", self._all, 0, _SCOPES)
        size = 24 if abi >= 6 else 8
        self._ruleset = call(_CREATE_RULESET, attributes[:size], size, 0)
        reading = _EXECUTE | _READ_FILE | _READ_DIR
        self._allow("/", reading)
        for path in ("/dev", "/proc"):
            self._allow(path, reading | self._all & (_WRITE_FILE | _TRUNCATE))

    def open(self, path: str) -> None:
        """Let everything below `path` be written; a missing one is left out."""
        with contextlib.suppress(FileNotFoundError):
            self._allow(path, self._all)

    def _allow(self, path: str, access: int) -> None:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(handle).st_mode):
                access &= _FOR_FILES
            rule = struct.pack("=Qi", access, handle)
            call(_ADD_RULE, self._ruleset, _RULE_PATH_BENEATH, rule, 0)
        finally:
            os.close(handle)

    def restrict(self) -> None:
        """Put this process and all that it starts under the ruleset; needs `no_new_privs`."""
        call(_RESTRICT_SELF, self._ruleset, 0)
        self.close()

    def close(self) -> None:
        """Give it back."""
        os.close(self._ruleset)
