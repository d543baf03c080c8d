"""When a process of this machine began: with its number, that tells it apart from a later one.

It is read here and nowhere else: leases, control groups, containers and servers are named by it.
"""

from pathlib import Path


def process_started(pid: int) -> str:
    """Return when a process began, in clock ticks since the machine did; empty where it is gone or ended.

    It is field 22 of /proc/PID/stat (proc(5)).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # The name, in parentheses, may hold anything; the other fields follow the last one.
    fields = text.rpartition(b")")[2].split()
    # A zombie has ended; only its parent has not looked yet.
    return "" if fields[0] == b"Z" else fields[19].decode()
