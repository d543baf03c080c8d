"""Who holds a lease: a process of a host, told apart from a later process with the same number."""

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Return this process as `host:pid:start`; `start` is its start time in clock ticks since boot."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Say whether the owner still runs. Owners on other hosts count as alive: their lease must run out."""
    host, pid, start = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    return pid.isdigit() and start != "" and _start(int(pid)) == start


def _start(pid: int) -> str:
    """Return field 22 of /proc/PID/stat (proc(5)), or "" where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    # A zombie has ended; only its parent has not looked yet.
    return "" if fields[0] == "Z" else fields[19]
