"""Runs the conformance suite as uid 1000: started by root, so that an interpreter in root's home loads."""

import asyncio
import concurrent.futures.thread
import contextlib
import os
import sys
from pathlib import Path

from overnight.sandbox.bubblewrap.arguments import find_bubblewrap
from overnight.sandbox.choose import SandboxKind, choose
from overnight.sandbox.conformance import CONFINED, EVERY
from overnight.sandbox.room import NotApplicable, Room

PYTHON = Path("/usr/bin/python3")
"""An interpreter that uid 1000 can start; the running one may lie in root's home."""

assert concurrent.futures.thread
assert find_bubblewrap("")  # imports its package


async def main(folder: Path) -> None:
    """Run every case and print its name when it held."""
    kind: SandboxKind = "bubblewrap" if sys.argv[2] == "bubblewrap" else "namespaces"
    backend = await choose(
        kind, state=folder / "state", search="/usr/bin:/bin", home=Path("/nowhere"), python=PYTHON
    )
    assert backend.owner is None
    for case in (*EVERY, *CONFINED):
        with contextlib.suppress(NotApplicable):
            await case(Room(backend, folder, os.environ["OVERNIGHT_TEST_SECRET"]))
        sys.stdout.write(f"{getattr(case, '__name__', case)}\n")


if __name__ == "__main__":
    os.setgroups([])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
    os.environ["HOME"] = "/nowhere"
    asyncio.run(main(Path(sys.argv[1])))
