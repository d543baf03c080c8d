"""A malicious agent that looks for another attempt which works at the same time, and shares with it."""

import asyncio
import os
import uuid
from pathlib import Path

import pytest

from overnight.sandbox.interface import Command, Sandbox
from overnight.sandbox.running import Going
from tests.attacks.rooms import opened_room, python
from tests.attacks.scripted import Villain

CANARY = "canary-of-the-neighbour"

VICTIM = r"""
import ctypes, os, socket, sys
name, port, key, canary = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode()
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
held = []
for family, address in ((socket.AF_UNIX, "\0" + name), (socket.AF_INET, ("127.0.0.1", port))):
    listener = socket.socket(family); listener.bind(address); listener.listen(); held.append(listener)
memory = libc.shmget(key, 4096, 0o1666)
if memory >= 0: ctypes.memmove(libc.shmat(memory, None, 0), canary, len(canary))
libc.semget(key, 1, 0o1666); libc.msgget(key, 0o1666)
for folder in ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "/workspace"):
    try: open(f"{folder}/{name}", "wb").write(canary)
    except OSError: pass
print("ready", flush=True)
sys.stdin.read()
"""
ATTACKER = r"""
import ctypes, glob, os, socket, sys
name, port, key = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
for family, address in ((socket.AF_UNIX, "\0" + name), (socket.AF_INET, ("127.0.0.1", port))):
    try: socket.socket(family).connect(address); print("reached", address)
    except OSError: pass
memory = libc.shmget(key, 4096, 0)
if memory >= 0: print("shared memory", ctypes.string_at(libc.shmat(memory, None, 0), 23))
if libc.semget(key, 1, 0) >= 0: print("semaphore")
if libc.msgget(key, 0) >= 0: print("queue")
for folder in ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "/workspace", sys.argv[4]):
    for path in glob.glob(f"{folder}/**/{name}", recursive=True): print("found", path)
for table in ("/proc/net/unix", "/proc/sysvipc/shm"):
    try:
        if name in open(table).read() or str(key) in open(table).read(): print("listed in", table)
    except OSError: pass
print("looked")
"""


async def _begin(sandbox: Sandbox, victim: str) -> Going | object:
    ready = asyncio.Event()

    def heard(stream: str, data: bytes) -> None:
        if b"ready" in data:
            ready.set()

    running = await sandbox.start(Command(script=victim), heard)
    ended = asyncio.create_task(running.wait())
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({ended, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert ready.is_set(), await running.wait()
    ended.cancel()
    return running


@pytest.mark.attack(39)
def test_a_neighbour_cannot_be_found(villain: Villain) -> None:
    name = f"note-{uuid.uuid4().hex}"
    port, key = 20_000 + os.getpid() % 20_000, uuid.uuid4().int % 2**30 + 1
    with opened_room(villain.backend) as room, asyncio.Runner() as runner:
        sandbox = room.open()
        runner.run(_begin(sandbox, python(VICTIM, name, str(port), str(key), CANARY)))
        try:
            done = villain.attack(python(ATTACKER, name, str(port), str(key), str(room.folder)))
        finally:
            runner.run(sandbox.close())
    found = [line for line in done.output.split("\n") if line]
    assert found == ["looked"], done.output


@pytest.mark.attack(39)
def test_predictable_names_carry_nothing_over(villain: Villain) -> None:
    """What one attempt leaves under usual names, the next one does not find."""
    name = f"note-{uuid.uuid4().hex}"
    places = "/tmp /var/tmp /dev/shm $HOME $HOME/.cache /dependencies /workspace"
    leave = f"for d in {places}; do mkdir -p $d; echo {CANARY} > $d/{name}; done 2>/dev/null; ls /tmp/{name}"
    first = villain.attack(leave)
    assert f"/tmp/{name}" in first.output
    second = villain.attack(
        f"find / -xdev -name {name} 2>/dev/null; find {places} -name {name} 2>/dev/null; echo looked"
    )
    assert second.output == "looked\n", second.output


@pytest.mark.attack(39)
def test_control_the_same_names_are_shared_outside(villain: Villain) -> None:
    name = f"overnight-note-{uuid.uuid4().hex}"
    try:
        first = villain.unprotected(f"echo {CANARY} > /tmp/{name}; echo left")
        assert "left" in first.output
        assert CANARY in villain.unprotected(f"cat /tmp/{name}").output
    finally:
        Path("/tmp", name).unlink(missing_ok=True)
