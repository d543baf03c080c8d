"""Sandboxes opened by hand, for attacks that need smaller limits or a neighbour that lives meanwhile."""

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from overnight.cli.wire import SANDBOXES
from overnight.sandbox.choose import choose
from overnight.sandbox.room import Room


@contextmanager
def opened_room(backend: str) -> Generator[Room]:
    """Return a place to open sandboxes of that kind in, beneath a directory of its own."""
    folder = Path(tempfile.mkdtemp(prefix="overnight-room-"))
    folder.chmod(0o755)
    try:
        chosen = asyncio.run(
            choose(SANDBOXES[backend], state=folder / "state", search=os.environ["PATH"], home=Path.home())
        )
        yield Room(chosen, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def python(script: str, *arguments: str) -> str:
    """Return the shell command that runs a Python program."""
    return shlex.join(("python3", "-I", "-c", script, *arguments))
