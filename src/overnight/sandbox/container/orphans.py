"""Containers that a killed worker left: known by the folder that each has, and removed at the next start."""

import functools
import os
import re
import shutil
from pathlib import Path

from overnight.domain.process import process_started
from overnight.sandbox.container.engine import Engine
from overnight.sandbox.container.live import remove_container

_NAME = re.compile(r"(overnight-\d+-\d+)-[0-9a-f]{12}")


@functools.cache
def _owner(pid: int) -> str:
    return f"overnight-{pid}-{process_started(pid)}"


def this_owner() -> str:
    """Name this process, told apart from a later one with the same number."""
    return _owner(os.getpid())


def lives(owner: str) -> bool:
    """Say whether the process of that name still runs."""
    _, pid, start = owner.split("-")
    return process_started(int(pid)) == start


async def sweep(engine: Engine, state: Path) -> list[str]:
    """Remove the containers below `state` whose worker is dead, with their folders; return their names.

    Raises:
        EngineError: one cannot be removed.
    """
    removed: list[str] = []
    folder = state / "containers"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = _NAME.fullmatch(path.name)
        if found is None or lives(found[1]):
            continue
        await remove_container(engine, path.name)
        shutil.rmtree(path, ignore_errors=True)
        removed.append(path.name)
    return removed
