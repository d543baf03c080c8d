"""A malicious command that tries to use the machine up. Each try is bounded, and ends as a named limit."""

import asyncio
from collections.abc import Generator

import pytest

from overnight.domain.task import Limits
from overnight.sandbox.interface import Command, CommandResult, Sandbox
from overnight.sandbox.room import Room
from overnight.sandbox.watch import disk_bytes
from tests.attacks.rooms import opened_room, python

MEBIBYTE = 1024**2
SMALL = Limits(
    command_seconds=60,
    memory_bytes=192 * MEBIBYTE,
    processes=64,
    output_bytes=256 * 1024,
    file_bytes=8 * MEBIBYTE,
    disk_bytes=24 * MEBIBYTE,
)


@pytest.fixture
def room(backend: str) -> Generator[Room]:
    """Return a place for sandboxes of each kind."""
    with opened_room(backend) as made:
        yield made


async def _beside(neighbour: Sandbox, done: asyncio.Event) -> int:
    """Run commands in another sandbox until `done`; return how many answered as they should."""
    answered = 0
    while not done.is_set() or answered == 0:
        result = await neighbour.run(Command(script="echo alive | cat", seconds=60))
        assert result.stdout == b"alive\n", result
        answered += 1
        await asyncio.sleep(0.2)
    return answered


def attack(room: Room, script: str, limits: Limits = SMALL, seconds: float | None = None) -> CommandResult:
    """Run the attack while another sandbox works on, and return how the attack ended."""

    async def both() -> CommandResult:
        neighbour = room.open(Limits(command_seconds=60))
        attacker = room.open(limits)
        done = asyncio.Event()
        beside = asyncio.create_task(_beside(neighbour, done))
        try:
            result = await attacker.run(Command(script=script, seconds=seconds))
        finally:
            done.set()
            assert await beside > 0, "the neighbour went on"
            await attacker.close()
            await neighbour.close()
        return result

    return asyncio.run(both())


FORKS = """
import os, time
for _ in range(4000):
    try:
        if os.fork() == 0: time.sleep(600); os._exit(0)
    except OSError as error:
        print("stopped", error.errno); break
"""


@pytest.mark.attack(36)
def test_a_fork_bomb(room: Room) -> None:
    result = attack(room, python(FORKS))
    assert result.stdout.startswith(b"stopped 11"), result
    result = attack(room, "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 600", seconds=1.0)
    assert result.limit in ("command_seconds", "processes", "output_bytes"), result


@pytest.mark.attack(36)
def test_memory(room: Room) -> None:
    result = attack(room, python("held = []\nwhile True: held.append(bytearray(8 << 20))"))
    assert result.limit == "memory_bytes", result
    # Memory that no process holds: files of the memory's own file systems count as well.
    result = attack(room, "for i in $(seq 64); do head -c 7000000 /dev/zero > /dev/shm/$i || exit 3; done")
    assert result.limit in ("memory_bytes", "disk_bytes") or result.exit_code == 3, result


@pytest.mark.attack(36)
def test_disk(room: Room) -> None:
    fill = "i=0; while head -c 4000000 /dev/zero > f$i; do i=$((i+1)); sleep 0.02; done; exit 3"
    result = attack(room, fill)
    # Where the writable layer has a size of its own, the kernel says that it is full.
    assert result.limit == "disk_bytes" or result.exit_code == 3, result
    assert disk_bytes(room.upper, 40 * SMALL.disk_bytes) < 20 * SMALL.disk_bytes


@pytest.mark.attack(36)
def test_inodes(room: Room) -> None:
    many = (
        "import os, time\nfor folder in range(200):\n os.mkdir(f'd{folder}')\n"
        " for number in range(500): os.symlink('x', f'd{folder}/{number}')\n time.sleep(0.02)\n"
    )
    result = attack(room, python(many))
    assert result.limit == "disk_bytes" or b"No space" in result.stderr, result


@pytest.mark.attack(36)
def test_a_flood_of_output(room: Room) -> None:
    result = attack(room, "yes flood & yes flood >&2")
    assert result.limit == "output_bytes", result
    assert len(result.stdout) + len(result.stderr) <= SMALL.output_bytes
    line = attack(room, "head -c 3000000 /dev/zero | tr '\\0' x")  # one endless line, within bounds
    assert line.limit is None
    assert len(line.stdout) <= SMALL.output_bytes


@pytest.mark.attack(36)
def test_descriptors(room: Room) -> None:
    script = (
        "import os\nn = 0\ntry:\n while n < 100000: os.dup(0); n += 1\n"
        "except OSError as error: print(n, error.errno)"
    )
    result = attack(room, python(script))
    count, code = map(int, result.stdout.split())
    assert code == 24, "EMFILE"
    assert count < 10_000


@pytest.mark.attack(36)
def test_time(room: Room) -> None:
    result = attack(room, "trap '' TERM INT HUP; while :; do :; done", seconds=1.0)
    assert result.limit == "command_seconds", result
