"""Many sandboxes made, used and ended while their owner is killed at any moment: nothing is left of them."""

import asyncio
import random
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from overnight.sandbox.room import host_processes
from tests.sandbox.native.conftest import control_groups

pytestmark = [pytest.mark.anyio, pytest.mark.full]

_ROUNDS = 25
_OWNER = """
import asyncio, sys
from pathlib import Path
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.room import Room
from overnight.sandbox.interface import Command
from overnight.sandbox.tools import HostTools
async def cycle(room, token):
    sandbox = room.open()
    await sandbox.run(Command(script=f"setsid sleep 3600.{token} >/dev/null 2>&1 & echo x > x"))
    await sandbox.start(Command(script=f"sleep 3600.{token}; :"))
    await sandbox.run(Command(argv=("true",)))
    await sandbox.close()
    print("cycle", flush=True)
async def main(folder, token):
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    backend = NamespacesBackend(tools, folder / "state", ahead=2)
    room = Room(backend, folder)
    while True:
        await asyncio.gather(*(cycle(room, token) for _ in range(4)))
asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_nothing_is_left_of_many(folder: Path) -> None:
    chance = random.Random(7)
    owners: list[int] = []
    token = str(uuid.uuid4().int)[:18]
    for _ in range(_ROUNDS):
        owner = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _OWNER, folder, token, stdout=subprocess.PIPE
        )
        assert owner.stdout is not None
        owners.append(owner.pid)
        for _ in range(40):  # forty cycles, a thousand in all
            assert await owner.stdout.readline() == b"cycle\n"
        await asyncio.sleep(chance.random() * 0.05)
        owner.send_signal(signal.SIGKILL)
        await owner.wait()
    async with asyncio.timeout(120):
        while host_processes(token):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while control_groups(set(owners)):
            swept = await asyncio.create_subprocess_exec(sys.executable, "-c", _SWEEP)
            assert await swept.wait() == 0
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(folder) not in mounts


_SWEEP = """
from overnight.domain.limits import Limits
from overnight.sandbox.cgroup import create_cgroup
group = create_cgroup(Limits())
if group is not None:
    group.remove()
"""
