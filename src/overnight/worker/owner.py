"""Who holds a lease: a process of a host, told apart from a later process with the same number."""

import os
import socket

from overnight.domain.process import process_started


def this_process() -> str:
    """Return this process as `host:pid:start`; `start` is its start time in clock ticks since boot."""
    return f"{socket.gethostname()}:{os.getpid()}:{process_started(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Say whether the owner still runs. Owners on other hosts count as alive: their lease must run out."""
    host, pid, start = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    return pid.isdigit() and start != "" and process_started(int(pid)) == start
