"""Locks between processes, held by an open file: the kernel lets go when the holder dies."""

import fcntl
from pathlib import Path
from typing import IO


def take_lock(path: Path, *, shared: bool = False) -> IO[bytes] | None:
    """Take a lock without waiting; it is held until the file returned is closed. None: somebody has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
