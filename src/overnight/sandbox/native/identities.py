"""Kernel users for sandboxes, each lent to one at a time, among all workers of a machine that root starts.

The users are counted in one file, a byte each: who uses one holds a lock on its byte (fcntl(2), open file
description locks), which the kernel takes back from whoever dies. The byte is 1 from the taking until
everything of the sandbox is known to have ended; so a byte that is 1 and not locked belonged to a process
that died, and its user is lent again only when no process of that user is left.
"""

import contextlib
import fcntl
import os
import random
import stat
import struct
import threading
import weakref
from pathlib import Path
from typing import Final

from overnight.domain.errors import SandboxUnavailableError

RUNTIME: Final = Path("/run/overnight")
"""Where all workers of a machine find the file, whatever their data directory; empty after a restart."""
FIRST: Final = 200_001
COUNT: Final = 10_000
_FREE: Final = b"\0"
_USED: Final = b"\1"
_KEPT: Final = 32
"""Users that a process keeps for its next sandboxes, with the maps that were made for them."""


class Identity:
    """A kernel user and group of one number, for one sandbox at a time."""

    def __init__(self, number: int, home: "Identities") -> None:
        self.number = number
        self._home = home
        self.users: int | None = None
        """A user namespace that says who owns files for this user; see `users.open_map`."""

    @property
    def owner(self) -> tuple[int, int]:
        """Uid and gid, as the host sees what runs inside."""
        return self.number, self.number

    def give_back(self, *, ended: bool) -> None:
        """Let others have it; to be called once for each taking.

        Args:
            ended: whether it is certain that no process of this user is left. Else a later look decides.
        """
        self._home.put_back(self, ended=ended)

    def forget_map(self) -> None:
        """Give the namespace back."""
        if self.users is not None:
            os.close(self.users)
            self.users = None


class Identities:
    """The users that this process has a part of.

    Args:
        folder: where the file lies, the same for all processes; made if it is missing.
        first: the number of the first user.
        count: how many there are.

    Raises:
        OSError: there is no such place, or it is not root's alone.
    """

    def __init__(self, folder: Path = RUNTIME, first: int = FIRST, count: int = COUNT) -> None:
        self._first = first
        self._count = count
        self._lock = threading.Lock()
        self._held: set[int] = set()
        self._kept: list[Identity] = []
        self._swept = False
        self._next = random.randrange(count)  # noqa: S311  only to spread processes out
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022:
            raise PermissionError(1, "not ours alone", str(folder))
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(folder / f"users-{first}-{count}", flags, 0o600)
        weakref.finalize(self, os.close, self._file)
        os.truncate(self._file, count)

    def take(self) -> Identity:
        """Return a user that nobody else has until it is given back.

        Raises:
            SandboxUnavailableError: all are taken.
        """
        with self._lock:
            if self._kept:
                return self._kept.pop()
            if not self._swept:
                self._sweep()
            number = self._find()
            if number is None:
                self._sweep()
                number = self._find()
            if number is None:
                raise SandboxUnavailableError(
                    f"No user is left for another sandbox: all {self._count:,} are taken",
                    "End other workers of this machine, or have them work on fewer attempts at once.",
                )
            return Identity(number, self)

    def put_back(self, identity: Identity, *, ended: bool) -> None:
        """See `Identity.give_back`."""
        with self._lock:
            if ended and len(self._kept) < _KEPT:
                self._kept.append(identity)
            else:
                self._let_go(identity, ended=ended)

    def let_go(self) -> None:
        """Let others have what is kept for the next sandboxes of this process."""
        with self._lock:
            while self._kept:
                self._let_go(self._kept.pop(), ended=True)

    def _let_go(self, identity: Identity, *, ended: bool) -> None:
        identity.forget_map()
        index = identity.number - self._first
        if ended:
            os.pwrite(self._file, _FREE, index)
        self._held.discard(index)
        self._set(fcntl.F_UNLCK, index)

    def _find(self) -> int | None:
        """Take a free user, from where the last one was on."""
        bytes_ = os.pread(self._file, self._count, 0)
        for step in range(self._count):
            index = (self._next + step) % self._count
            if bytes_[index : index + 1] == _FREE and self._try(index):
                if os.pread(self._file, 1, index) == _FREE:
                    os.pwrite(self._file, _USED, index)
                    self._held.add(index)
                    self._next = (index + 1) % self._count
                    return self._first + index
                self._set(fcntl.F_UNLCK, index)
        return None

    def _sweep(self) -> None:
        """Free the users of processes that died, where nothing of them runs any more."""
        self._swept = True
        bytes_ = os.pread(self._file, self._count, 0)
        left: list[int] = []
        for index, byte in enumerate(bytes_):
            if byte == _USED[0] and self._try(index):
                left.append(index)
        if not left:
            return
        alive = _living_users()
        for index in left:
            if self._first + index not in alive and os.pread(self._file, 1, index) == _USED:
                os.pwrite(self._file, _FREE, index)
            self._set(fcntl.F_UNLCK, index)

    def _try(self, index: int) -> bool:
        """Lock a byte, if nobody has; this process's own locks are not in its way, so they are known."""
        if index in self._held:
            return False
        try:
            self._set(fcntl.F_WRLCK, index)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _set(self, kind: int, index: int) -> None:
        # struct flock: type, whence, start, length, pid.
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack("@hhqqi4x", kind, os.SEEK_SET, index, 1, 0))


def _living_users() -> set[int]:
    """Return the real users of all processes of this machine."""
    found: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            found.add(int(status.read_bytes().split(b"\nUid:", 1)[1].split(maxsplit=1)[0]))
    return found
