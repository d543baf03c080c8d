"""What the kernel counts for a user and not for a sandbox: taking all of it must hurt nobody else.

The attacker takes every inotify instance, every descriptor under way in sockets, all memory for pipes, all
memory that may be locked, and every pending signal that it can; its neighbour then asks for one of each.
"""

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.sandbox.interface import Command, Sandbox
from overnight.sandbox.processes import OWNER
from tests.attacks.rooms import opened_room, python
from tests.attacks.scripted import unavailable
from tests.processes import running

NOBODY = 3_100_000_000
"""Users from here on are nobody's: the test adds its own number."""
MEBIBYTE = 1024**2

_BOTH = r"""
import array, ctypes, fcntl, os, resource, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def locked():
    memory = libc.shmget(0, 1 << 20, 0o1600)
    libc.shmat(memory, None, 0)
    done = libc.shmctl(memory, 11, None) == 0  # SHM_LOCK
    libc.shmctl(memory, 0, None)  # IPC_RMID: it goes with this process
    return done
def queued(): return libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(1)) == 0
def pipe_bytes():
    pipe = os.pipe()
    return fcntl.fcntl(pipe[1], 1032)
null = array.array("i", [os.open("/dev/null", 0)] * 253)
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
"""
GREED = (
    _BOTH
    + r"""
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
watches = locks = pipes = signals = under_way = 0
while watches < 2000 and libc.inotify_init() >= 0: watches += 1
while locks < 64 and locked(): locks += 1
while signals < 200000 and queued(): signals += 1
try:
    while pipes < 2500 and pipe_bytes() >= 65536: pipes += 1
except OSError: pass
pairs = []
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
print("took", watches, locks, signals, pipes, under_way, flush=True)
sys.stdin.read()
"""
)
NEED = (
    _BOTH
    + r"""
pair = socket.socketpair()
def passed():
    try: return pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, null[:1])]) == 1
    except OSError: return False
print(libc.inotify_init() >= 0, locked(), queued(), pipe_bytes() >= 65536, passed())
"""
)
ALL = "True True True True True"
NOTHING = "False False False False False"


@pytest.fixture
def usual_bounds() -> Iterator[None]:
    """Start what is started with as much as a machine usually allows."""
    kinds = {
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_MEMLOCK: 8 * MEBIBYTE,
        resource.RLIMIT_SIGPENDING: 4096,
    }
    before = {kind: resource.getrlimit(kind) for kind in kinds}
    for kind, usual in kinds.items():
        hard = before[kind][1]
        resource.setrlimit(kind, (usual if hard == resource.RLIM_INFINITY else min(usual, hard), hard))
    yield
    for kind, bounds in before.items():
        resource.setrlimit(kind, bounds)


def _only_apart() -> None:
    if os.geteuid() != 0:
        pytest.skip("started by an ordinary user, sandboxes are that user")
    if reason := unavailable("namespaces"):
        pytest.skip(reason)


async def _begin(sandbox: Sandbox, script: str) -> list[int]:
    """Start a program, and return the numbers that it prints once it has all it can get."""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def heard(stream: str, data: bytes) -> None:
        if not said.done():
            said.set_result(data.decode(errors="replace"))

    await sandbox.start(Command(script=script), heard)
    line = await asyncio.wait_for(said, 240)
    assert line.startswith("took "), line
    return [int(word) for word in line.split()[1:]]


@pytest.mark.attack(36)
@pytest.mark.parametrize("backend", ["namespaces"])
def test_a_greedy_sandbox_takes_nothing_from_its_neighbour(backend: str, usual_bounds: None) -> None:
    _only_apart()
    with opened_room(backend) as room, asyncio.Runner() as runner:
        greedy, other = room.open(), room.open()
        took = runner.run(_begin(greedy, python(GREED)))
        try:
            result = runner.run(other.run(Command(script=python(NEED))))
        finally:
            runner.run(greedy.close())
            runner.run(other.close())
    assert all(took), took
    most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    assert took[0] == most, "all that one user may have, not a share of it"
    assert result.stdout.decode().strip() == ALL, (took, result)


@pytest.mark.attack(36)
def test_control_one_user_takes_all_from_itself(usual_bounds: None) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    user = NOBODY + os.getpid()

    def start(script: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["/usr/bin/python3", "-I", "-c", script], cwd="/", env={}, user=user, group=user, extra_groups=[],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    greedy = start(GREED)
    assert greedy.stdout is not None
    took = greedy.stdout.readline().split()
    try:
        said, _ = start(NEED).communicate()
    finally:
        greedy.communicate("")
    assert said.strip() == NOTHING, took


@pytest.mark.attack(39)
@pytest.mark.parametrize("backend", ["namespaces"])
def test_neighbours_are_two_users_to_the_kernel(backend: str) -> None:
    """Files on disk belong to neither: whoever got out of its mounts could still not open the other's."""
    _only_apart()
    with opened_room(backend) as room, asyncio.Runner() as runner:
        sandboxes = [room.open() for _ in range(2)]
        users = [runner.run(_user_of(sandbox)) for sandbox in sandboxes]
        made = room.upper / "made"
        try:
            assert len({*users, 0, OWNER[0]}) == 4, users
            assert made.stat().st_uid == OWNER[0], "on disk"
            assert not _can_read(users[0], made)
            assert _can_read(OWNER[0], made), "control: as they were one user"
        finally:
            for sandbox in sandboxes:
                runner.run(sandbox.close())


def _can_read(user: int, file: Path) -> bool:
    words = ["/bin/cat", str(file)]
    done = subprocess.run(words, user=user, group=user, extra_groups=[], capture_output=True, check=False)
    return done.returncode == 0


async def _user_of(sandbox: Sandbox) -> int:
    """Return the kernel user of a command, as the host sees it; inside it is always the same."""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def heard(stream: str, data: bytes) -> None:
        if not said.done():
            said.set_result(data.decode())

    mark = os.urandom(8).hex()
    script = f"umask 077; id -u > made; stat -c %u made; : {mark}; sleep 3600; :"
    await sandbox.start(Command(script=script), heard)
    assert (await asyncio.wait_for(said, 240)).strip() == "200000"
    users = {Path(f"/proc/{process}").stat().st_uid for process in running(mark)}
    assert len(users) == 1
    return users.pop()
