"""What bubblewrap leaves of workers that were killed while it started: known by name, ended by the next one.

bubblewrap asks the kernel to be killed with its parent, but its two processes do so one after the other.
Who is killed in between leaves a namespace's first process behind, which waits for ever.
"""

import contextlib
import functools
import os
import re
import signal
from pathlib import Path

from overnight.sandbox.makers import PATTERN, is_gone, this_maker

_NAME = re.compile(rf"overnight-bwrap-({PATTERN})\0".encode())


@functools.cache
def process_name() -> str:
    """Return the name that bubblewrap runs under for this process."""
    return f"overnight-bwrap-{this_maker()}"


@functools.cache
def end_orphans() -> None:
    """Kill, once in the life of this process, what runs under the name of one of ours that is no more."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            named = _NAME.match((entry / "cmdline").read_bytes())
            if named is not None and is_gone(named[1].decode()):
                os.kill(int(entry.name), signal.SIGKILL)
