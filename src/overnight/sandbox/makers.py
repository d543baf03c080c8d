"""Who made what outlives a process: named so that a later one can tell that the maker is gone, and was ours.

A number alone says nothing: it comes again, and in another PID namespace (a container that shares the control
groups or the process list of its host) it means somebody else.
"""

import functools
import os
import re
from pathlib import Path

from overnight.domain.process import process_started

PATTERN = r"([0-9]+)-([0-9]+)-([0-9]+)-([0-9]+)"
_NAME = re.compile(PATTERN)


def this_maker() -> str:
    """Name this process: its number, its beginning, its user and its PID namespace."""
    return _name(os.getpid())


def is_gone(maker: str) -> bool:
    """Say whether `maker` was a process of this user in this PID namespace and is no more.

    False of everybody else, of whom this process cannot know.
    """
    named = _NAME.fullmatch(maker)
    if named is None or (int(named[3]), int(named[4])) != (os.getuid(), _namespace()):
        return False
    return process_started(int(named[1])) != named[2]


@functools.cache
def _name(process: int) -> str:
    # By its number: a fork is another maker.
    return f"{process}-{process_started(process)}-{os.getuid()}-{_namespace()}"


def _namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0
