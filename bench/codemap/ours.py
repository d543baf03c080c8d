"""One measurement of our map in a fresh process; its argument is a JSON object, it prints another one."""

import asyncio
import json
import sys
import time
from pathlib import Path

from overnight.agents.codemap.focus import read_focus
from overnight.domain.limits import Limits
from overnight.git.mirror import Mirror
from overnight.worker.code import code_map


async def measure(task: dict[str, str], tokens: int) -> dict[str, object]:
    """Draw the map of the mirror's default branch."""
    mirror = await Mirror.open(Path(task["mirrors"]), task["repository"])
    commit = await mirror.resolve()
    started = time.perf_counter()
    code = code_map(Path(task["data"]), mirror, commit, Limits())
    drawn, left_out = await code.draw(read_focus(task["focus"]), tokens)
    return {"seconds": time.perf_counter() - started, "text": drawn.text, "left_out": dict(left_out)}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(measure(given, int(given["tokens"])))))
