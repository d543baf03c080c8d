"""Processes of a test: waiting for what one prints, and knowing that one has gone."""

import time
from pathlib import Path
from typing import IO

SECONDS = 60.0
"""A bound on every wait, so that what never happens fails the test."""


def wait_for(stream: IO[str], text: str) -> list[str]:
    """Read lines until one holds `text`; return those read."""
    lines: list[str] = []
    while line := stream.readline():
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} never came:\n{''.join(lines)}")


def running(*parts: str) -> list[int]:
    """Return the processes whose command line holds one of `parts`."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if any(part in command for part in parts):
            found.append(int(entry.name))
    return found


def gone(*parts: str) -> bool:
    """Say whether no such process is left, giving the kernel a moment to end those that were killed."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if not running(*parts):
            return True
        time.sleep(0.05)
    return False
