"""What the kernel counts for a user, where all sandboxes are one: a greedy one leaves others enough.

Where each is a user of its own `tests/attacks/test_shares.py` shows the same.
"""

import asyncio
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.sandbox.hardening import Answering
from overnight.sandbox.interface import Command
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.room import Room
from overnight.sandbox.tools import HostTools

pytestmark = pytest.mark.anyio

GREED = r"""
import array, ctypes, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
watches = 0
while watches < 2000 and libc.inotify_init() >= 0: watches += 1
null, pairs, under_way = array.array("i", [os.open("/dev/null", 0)] * 253), [], 0
try:
    while under_way < 20000:
        pairs.append(socket.socketpair())
        try:
            for _ in range(30):
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, null)]
                pairs[-1][0].sendmsg([b"x"], rights, socket.MSG_DONTWAIT)
                under_way += 253
        except BlockingIOError: pass
except OSError: pass
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
signals = 0
while signals < 200000 and libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(1)) == 0: signals += 1
print("took", watches, under_way, signals, flush=True)
sys.stdin.read()
"""
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
WATCH = "import ctypes; print(ctypes.CDLL(None).inotify_init() >= 0)"


@pytest.fixture
def usual_bound() -> Iterator[None]:
    """Start sandboxes with as many descriptors as a machine usually allows a service."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def room(folder: Path) -> Room:
    """Return a place for sandboxes that are one user: nothing says who has which."""
    (folder / "file").touch()
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    return Room(NamespacesBackend(tools, folder / "state", runtime=folder / "file" / "runtime"), folder)


async def test_a_greedy_sandbox_leaves_enough_for_another(room: Room, usual_bound: None) -> None:
    said = asyncio.Future[list[int]]()

    def hear(stream: str, data: bytes) -> None:
        if data.startswith(b"took") and not said.done():
            said.set_result([int(word) for word in data.split()[1:]])

    greedy = room.open()
    going = await greedy.start(Command(argv=("python3", "-I", "-c", GREED)), hear)
    watches, under_way, signals = await asyncio.wait_for(said, 120)
    most = int(INSTANCES.read_text())
    assert 0 < watches <= max(8, most // 8)
    assert under_way > 1024
    assert signals <= 4096
    other = room.open(network="egress", egress=Answering())
    result = await other.run(Command(argv=("python3", "-I", "-c", WATCH)))
    assert result.stdout == b"True\n", result
    await going.stop(0.1)
    await other.close()
    await greedy.close()
