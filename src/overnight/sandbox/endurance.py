"""What a sandbox must hold that lasts from command to command, as cases for any backend.

A case that says nothing about a backend raises `NotApplicable`.
"""

import asyncio
import os
import uuid

from overnight.domain.limits import Limits
from overnight.sandbox.interface import Command
from overnight.sandbox.room import NotApplicable, Room, expect, expect_confined_processes, host_processes


def _only_lasting(room: Room) -> None:
    if not room.backend.lasting:
        raise NotApplicable("every command gets a sandbox of its own")


async def background_lives(room: Room) -> None:
    """What a command leaves in the background is there for the next, may go on printing, and can be ended."""
    _only_lasting(room)
    sandbox = room.open()
    script = "(while :; do echo tick; sleep 0.01; done) & echo $! > /tmp/pid"
    result = await sandbox.run(Command(script=script))
    expect(result.exit_code == 0, "a command ends with a child that holds its output open", result)
    for _ in range(3):
        result = await sandbox.run(Command(script="kill -0 $(cat /tmp/pid) && echo alive"))
        expect(result.stdout == b"alive\n", "the child lives", result)
    result = await sandbox.run(
        Command(script="kill $(cat /tmp/pid); while kill -0 $(cat /tmp/pid); do :; done")
    )
    expect(result.exit_code == 0, "the child can be ended by another command", result)
    await sandbox.close()


async def a_limit_spares_the_background(room: Room) -> None:
    """A command that runs out of time ends with all that it started, and nothing else does."""
    _only_lasting(room)
    early, late = (str(uuid.uuid4().int)[:18] for _ in range(2))
    sandbox = room.open()
    await sandbox.run(Command(script=f"(setsid bash -c ': {early}; sleep 3600; :' >/dev/null 2>&1 &)"))
    await asyncio.sleep(0.03)  # the kernel counts starts in hundredths of a second
    script = f"(setsid bash -c ': {late}; sleep 3600; :' >/dev/null 2>&1 &); sleep 3600"
    result = await sandbox.run(Command(script=script, seconds=1.0))
    expect(result.limit == "command_seconds", "the time limit", result)
    expect(not host_processes(late), "what the command started is gone")
    expect(bool(host_processes(early)), "what an earlier command left lives")
    await sandbox.close()
    expect(not host_processes(early), "and ends with the sandbox")


async def the_background_is_bounded(room: Room) -> None:
    """What runs on between commands cannot fill the disk: it is stopped, and that is told."""
    _only_lasting(room)
    limits = Limits(command_seconds=60, disk_bytes=24 * 1024**2)
    told: list[str] = []
    sandbox = room.open(limits, on_limit=lambda limit, _: told.append(limit))
    script = (
        "(i=0; while :; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); sleep 0.02; done) >/dev/null 2>&1 &"
    )
    await sandbox.run(Command(script=script))
    async with asyncio.timeout(180):
        while not told:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    expect(told == ["disk_bytes"], f"it is told: {told}")
    result = await sandbox.run(Command(script="echo alive"))
    expect(result.stdout == b"alive\n" and "background" in result.detail, "it says so", result)
    await sandbox.close()


async def side_by_side(room: Room) -> None:
    """Commands run at the same time in one sandbox, each with its own streams and end."""
    sandbox = room.open()
    results = await asyncio.gather(
        *(sandbox.run(Command(script=f"read -r x; echo $x; exit {n}", stdin=b"%d\n" % n)) for n in range(6))
    )
    expect([r.exit_code for r in results] == list(range(6)), "six exit codes")
    expect([r.stdout for r in results] == [b"%d\n" % n for n in range(6)], "six outputs")
    await sandbox.close()


async def one_more_after_an_end(room: Room) -> None:
    """Whatever ends in a sandbox, the next command runs: after a fork bomb, a kill of all, a full memory.

    To be run where processes are confined, and nowhere else: it signals every process that it can.
    """
    await expect_confined_processes(room)
    limits = Limits(command_seconds=60, processes=64, memory_bytes=256 * 1024**2)
    sandbox = room.open(limits)
    bomb = "import os, time\ntry:\n while True:\n  if os.fork() == 0: time.sleep(3600)\n"
    bomb += "except OSError: os._exit(3)"
    result = await sandbox.run(Command(argv=("python3", "-I", "-c", bomb)))
    expect(result.exit_code != 0, "a fork bomb", result)
    await sandbox.run(Command(script="kill -9 -1"))
    hog = "b = [bytearray(64 << 20) for _ in range(16)]; input()"
    result = await sandbox.run(Command(script=f"exec python3 -I -c '{hog}' < <(sleep 60)"))
    expect(result.limit == "memory_bytes", "memory", result)
    result = await sandbox.run(Command(script="echo alive"))
    expect(result.stdout == b"alive\n", "the next command", result)
    await sandbox.close()


async def limits_have_names(room: Room) -> None:
    """A bound on processor time stops a command and is named; one on open files holds."""
    limits = Limits(command_seconds=60, cpu_seconds=1.0, open_files=64)
    sandbox = room.open(limits)
    result = await sandbox.run(Command(script="while :; do :; done & while :; do :; done"))
    expect(result.limit == "cpu_seconds", "processor time", result)
    opening = (
        "import os\nn = 0\ntry:\n while n < 500: os.dup(0); n += 1\nexcept OSError as e: print(n, e.errno)"
    )
    result = await sandbox.run(Command(argv=("python3", "-I", "-c", opening)))
    count, number = map(int, result.stdout.split())
    expect(count < 64 and number == 24, "open files", result)
    await sandbox.close()


async def host_writes_are_seen(room: Room) -> None:
    """What the host changes in the upper layer between commands is there for the next one."""
    count = 0
    sandbox = room.open(host_writes=lambda: count)
    result = await sandbox.run(Command(script="cat kept.txt; cat new.txt; ls; sleep 3600 >/dev/null 2>&1 &"))
    for turn in range(3):
        for name in ("kept.txt", "new.txt"):
            made = room.upper / f"{name}.made"
            made.write_text(f"host {turn}\n")
            if room.backend.owner is not None:
                os.chown(made, *room.backend.owner)
            made.rename(room.upper / name)
        count += 1
        result = await sandbox.run(Command(script="cat kept.txt new.txt; ls | grep -c new"))
        expect(result.stdout == b"host %d\nhost %d\n1\n" % (turn, turn), "what the host wrote", result)
        result = await sandbox.run(Command(script="echo more >> new.txt; cat new.txt"))
        expect(result.stdout == b"host %d\nmore\n" % turn, "and it can be changed", result)
    await sandbox.close()


LASTING = (
    background_lives,
    a_limit_spares_the_background,
    the_background_is_bounded,
    side_by_side,
    limits_have_names,
)
"""For every backend."""
CONFINED_LASTING = (
    one_more_after_an_end,
    host_writes_are_seen,
)
"""For backends that confine."""
