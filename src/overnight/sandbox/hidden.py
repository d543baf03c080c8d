"""Space that no walk of folders finds: files that were removed while a process still holds them open."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

_MEMORY = ("/memfd:", "/dev/shm/", "/dev/zero")  # noqa: S108


class Held(msgspec.Struct):
    """Bytes of removed files that processes hold open: on disk, and in memory (`memfd_create`)."""

    disk: int = 0
    memory: int = 0


def held_bytes(processes: Iterable[int], enough: int) -> Held:
    """Return what the removed files take that `processes` hold open; stop beyond `enough` on disk.

    A file that is only mapped, or on its way through a socket, is not found: `Free` is for those.
    """
    seen: set[tuple[int, int]] = set()
    held = Held()
    for process in processes:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{process}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    _add(held, entry.path, seen)
                if held.disk > enough:
                    return held
    return held


def _add(held: Held, path: str, seen: set[tuple[int, int]]) -> None:
    state = os.stat(path)  # noqa: PTH116  what the descriptor stands for
    if state.st_nlink or not stat.S_ISREG(state.st_mode) or (state.st_dev, state.st_ino) in seen:
        return
    seen.add((state.st_dev, state.st_ino))
    size = state.st_blocks * 512
    if os.readlink(path).startswith(_MEMORY):  # noqa: PTH115
        held.memory += size
    else:
        held.disk += size


class Free(msgspec.Struct, frozen=True):
    """What was free on the file systems of some directories, by directory, when a command started."""

    before: dict[Path, int]

    @classmethod
    def of(cls, directories: Iterable[Path]) -> "Free":
        """Look at the file systems now."""
        return cls({directory: free for directory in directories if (free := _free(directory)) is not None})

    def running_out(self, bound: int) -> bool:
        """Say whether a file system lost `bound` bytes, or half of what it had, and has less than that left.

        Others may have written them. Nobody is served by a full disk, so the command has to stop anyway.
        """
        for directory, before in self.before.items():
            now = _free(directory)
            if now is not None and now < bound and before - now > min(bound, before // 2):
                return True
        return False


def _free(directory: Path) -> int | None:
    try:
        state = os.statvfs(directory)
    except OSError:
        return None
    return state.f_bavail * state.f_frsize
