"""What every sandbox must hold, as cases that any backend can be run against, on a machine of a user too.

`EVERY` holds for all backends. `CONFINED` are those that only isolation can hold: `none` is not asked. A case
that says nothing about a backend raises `NotApplicable` with the reason.
"""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from overnight.domain.limits import Limits
from overnight.sandbox.endurance import CONFINED_LASTING, LASTING
from overnight.sandbox.hardening import HARDENED
from overnight.sandbox.interface import Bind, Command, OnOutput
from overnight.sandbox.probe import REFUSED_CALLS
from overnight.sandbox.room import ConformanceError, Room, expect, host_processes, needs_overlay

MEBIBYTE = 1024**2

Case = Callable[[Room], Awaitable[None]]


def _setting(event: asyncio.Event) -> OnOutput:
    return lambda stream, data: event.set()


async def output_and_exit(room: Room) -> None:
    """Both streams come apart, live and in full; the exit code is the command's."""
    seen: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def on_output(stream: str, data: bytes) -> None:
        seen[stream] += data

    sandbox = room.open()
    result = await sandbox.run(Command(script="echo out; echo err >&2; exit 3"), on_output)
    expect(
        (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n"), "exit and output", result
    )
    expect(seen == {"stdout": b"out\n", "stderr": b"err\n"}, f"live output {seen}")
    result = await sandbox.run(Command(script="echo again > /dev/stderr"))
    expect(result.stderr == b"again\n", "/dev/stderr can be opened", result)
    result = await sandbox.run(Command(argv=("no-such-program",)))
    expect(result.exit_code == 127, "a missing program is 127", result)
    result = await sandbox.run(Command(script="kill -9 $$"))
    expect(result.exit_code == -signal.SIGKILL and result.limit is None, "a signal is negative", result)
    await sandbox.close()


async def directory_and_files(room: Room) -> None:
    """Commands start in the workspace, or in a directory of it; changes last to the next command."""
    sandbox = room.open()
    result = await sandbox.run(Command(script="cat inner.txt && echo more > new.txt", directory="folder"))
    expect(result.exit_code == 0 and result.stdout == b"base\n", "directory", result)
    result = await sandbox.run(Command(script="chmod 700 . && cat folder/new.txt"))
    expect(result.stdout == b"more\n", "changes last", result)
    result = await sandbox.run(Command(script="ls", directory="no-such-directory"))
    expect(result.exit_code != 0, "a missing directory is a failed command", result)
    expect((room.upper / "folder/new.txt").read_text() == "more\n", "changes lie in the upper layer")
    await sandbox.close()


async def environment_is_clean(room: Room) -> None:
    """Only our own variables are set, those of the command winning over those of the environment."""
    sandbox = room.open(variables={"A": "1", "B": "1"})
    result = await sandbox.run(Command(script="env; cat /proc/*/environ 2>/dev/null", variables={"B": "2"}))
    lines = result.stdout.split(b"\n")
    expect(b"A=1" in lines and b"B=2" in lines and b"LANG=C.UTF-8" in lines, "variables", result)
    if room.backend.name != "none":
        expect(not room.secret or room.secret.encode() not in result.stdout, "no secret", result)
    result = await sandbox.run(Command(argv=("env",)))
    expect(not room.secret or room.secret.encode() not in result.stdout, "no secret of the caller", result)
    result = await sandbox.run(Command(script='test -w "$HOME" && test -d "$HOME" && touch "$HOME/x"'))
    expect(result.exit_code == 0, "a home to write to", result)
    await sandbox.close()


async def stdin_ends(room: Room) -> None:
    """A command reads what it was given and then the end; without input, the end at once."""
    sandbox = room.open()
    given = b"x" * (2 * MEBIBYTE)
    result = await sandbox.run(Command(script="wc -c", stdin=given))
    expect(result.stdout.strip() == str(len(given)).encode(), "input", result)
    result = await sandbox.run(Command(script="cat"))
    expect(result.exit_code == 0 and result.stdout == b"", "end of input", result)
    await sandbox.close()


_LINGER = "trap '' TERM HUP INT; (setsid bash -c 'exec sleep 3600.{0}' >/dev/null 2>&1 &); "


async def nothing_survives(room: Room) -> None:
    """Children that left session and parent end with a command that is ended, and with the sandbox.

    Where sandboxes last, a command's own end leaves its children alive for the next command.
    """
    token = str(uuid.uuid4().int)[:18]
    linger = _LINGER.format(token)
    sandbox = room.open()
    result = await sandbox.run(Command(script=f"{linger} echo done"))
    expect(result.stdout == b"done\n", "the command itself", result)
    if room.backend.lasting:
        await room.until_lives(token, "a child in the background lives where sandboxes last")
    else:
        expect(not host_processes(token), "a child in the background ends with its command")
    await sandbox.close()
    expect(not host_processes(token), "nothing survives the sandbox")
    sandbox = room.open()
    result = await sandbox.run(Command(script=f"{linger} sleep 3600", seconds=0.5))
    expect(result.limit == "command_seconds" and result.exit_code == -signal.SIGKILL, "time limit", result)
    expect(result.seconds < 10, "the time limit is kept", result)
    expect(not host_processes(token), "nothing survives a time limit")
    ready = asyncio.Event()
    running = asyncio.create_task(
        sandbox.run(Command(script=f"{linger} echo ready; sleep 3600"), _setting(ready))
    )
    await ready.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    expect(not host_processes(token), "nothing survives cancelling")
    result = await sandbox.run(Command(script="echo alive"))
    expect(result.stdout == b"alive\n", "the sandbox lives on", result)
    await sandbox.close()


async def commands_go_on(room: Room) -> None:
    """A started command answers while others run, and ends when it is asked to, or is made to."""
    sandbox = room.open()
    said = bytearray()
    heard = asyncio.Event()

    def on_output(stream: str, data: bytes) -> None:
        said.extend(data)
        if said.endswith(b"\n"):
            heard.set()

    script = (
        "trap 'echo asked; exit 7' TERM; echo ready; while read -r line; do echo got $line; done; echo eof"
    )
    running = await sandbox.start(Command(script=script), on_output)
    await heard.wait()
    heard.clear()
    result = await sandbox.run(Command(script="echo beside"))
    expect(result.stdout == b"beside\n", "another command beside it", result)
    await running.write(b"one\n")
    await heard.wait()
    expect(bytes(said) == b"ready\ngot one\n", f"an answer to what was written: {bytes(said)!r}")
    result = await running.stop(60.0)
    expect(result.exit_code == 7 and result.stdout.endswith(b"asked\n"), "it was asked to end", result)
    await running.write(b"late\n")
    heard.clear()
    running = await sandbox.start(Command(script="trap '' TERM; echo ready; sleep 3600; :"), on_output)
    await heard.wait()
    result = await running.stop(0.1)
    expect(result.exit_code == -signal.SIGKILL, "it was made to end", result)
    running = await sandbox.start(Command(argv=("no-such-program",)))
    expect((await running.wait()).exit_code == 127, "a missing program is 127")
    token = str(uuid.uuid4().int)[:18]
    await sandbox.start(Command(script=f": {token}; sleep 3600; :"))
    await sandbox.close()
    expect(not host_processes(token), "it ends with the sandbox")


async def files_hold_still(room: Room) -> None:
    """While a sandbox is frozen nothing inside writes; afterwards it goes on."""
    sandbox = room.open()
    seen = asyncio.Event()
    running = await sandbox.start(
        Command(script="echo ready; while :; do echo x >> grows; done"), _setting(seen)
    )
    await seen.wait()
    grows = room.upper / "grows"
    await _larger(grows, 0)
    async with sandbox.frozen():
        size = grows.stat().st_size
        await asyncio.sleep(0.2)
        expect(grows.stat().st_size == size, "files hold still")
    await _larger(grows, size)
    await running.stop()
    async with sandbox.frozen():  # nothing runs
        pass
    await sandbox.close()


async def _larger(file: Path, size: int) -> None:
    async with asyncio.timeout(60):
        while not file.exists() or file.stat().st_size <= size:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def output_is_bounded(room: Room) -> None:
    """Beginning and end are kept; a flood is stopped."""
    limits = Limits(command_seconds=60, output_bytes=64 * 1024)
    result = await room.run("echo first; yes | head -c 1000000; echo last", limits)
    expect(result.limit is None and len(result.stdout) <= limits.output_bytes, "kept within bounds")
    expect(result.stdout.startswith(b"first\n") and result.stdout.endswith(b"last\n"), "beginning and end")
    expect(b"bytes left out" in result.stdout and bool(result.detail), "it says what is missing")
    result = await room.run("yes", limits)
    expect(result.limit == "output_bytes", "a flood is stopped")


async def files_are_bounded(room: Room) -> None:
    """One file cannot grow beyond its bound, and all together not beyond that of the disk."""
    limits = Limits(command_seconds=600, file_bytes=MEBIBYTE, disk_bytes=24 * MEBIBYTE)
    result = await room.run("exec head -c 10000000 /dev/zero > large", limits)
    expect(result.limit == "file_bytes" or result.exit_code != 0, "file size", result)
    expect((room.upper / "large").stat().st_size <= limits.file_bytes, "the file stopped growing")
    script = "i=0; while true; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); sleep 0.01; done"
    result = await room.run(script, limits)
    expect(result.limit == "disk_bytes", "disk", result)


async def memory_is_bounded(room: Room) -> None:
    """The bound is on all processes together."""
    limits = Limits(command_seconds=600, memory_bytes=200 * MEBIBYTE)
    hold = "python3 -c 'b = bytearray(70 << 20); input()' < <(sleep 600) &"
    result = await room.run(hold * 4 + " wait", limits)
    expect(result.limit == "memory_bytes", "memory of a tree", result)


async def network_is_closed(room: Room) -> None:
    """Neither the host's loopback nor any name can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        result = await room.run(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo open")
        expect(result.exit_code != 0 and b"open" not in result.stdout, "the host's loopback", result)
        try:
            server.accept()[0].close()
        except BlockingIOError:
            pass
        else:
            raise ConformanceError("the host saw a connection")
    result = await room.run("getent hosts example.com || exec 3<>/dev/tcp/192.0.2.1/80")
    expect(result.exit_code != 0, "names and addresses", result)


async def host_is_hidden(room: Room) -> None:
    """Neither files outside the workspace nor the caller's home can be seen."""
    secret = room.folder / "secret.txt"
    secret.write_text("secret")
    result = await room.run(f"cat {secret}")
    expect(result.exit_code != 0 and b"secret" not in result.stdout, "a file of the host", result)
    # An interpreter that must lie at its own path shows the folders that lead to it, and nothing else.
    leading = set(Path(sys.base_prefix).parts)
    home = Path.home()
    private = [name for name in _names(home) if name not in leading]
    result = await room.run(f"ls -A {home} /root; ls -A /run /var /mnt /srv /sys | grep -v :")
    shown = result.stdout.decode().split()
    expect(not set(private) & set(shown), "the caller's home", result)
    result = await room.run("ls -d /proc/[0-9]* | wc -l")
    expect(int(result.stdout) < 10, "processes of the host", result)


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return [path.name for path in folder.iterdir()]
    return []


async def only_own_places_are_writable(room: Room) -> None:
    """Writing works in the workspace, `/tmp`, the home and writable binds, and nowhere else."""
    shared = room.folder / uuid.uuid4().hex
    for name in ("writable", "readable"):
        (shared / name).mkdir(parents=True)
        if room.backend.owner is not None:
            os.chown(shared / name, *room.backend.owner)
    binds = (
        Bind(source=shared / "writable", target="/dependencies", writable=True),
        Bind(source=shared / "readable", target="/cache/deep"),
    )
    sandbox = room.open(binds=binds)
    good = "/workspace /tmp $HOME /dependencies /dev/shm"
    bad = "/ /usr /usr/bin /etc /opt /dev /home /cache /cache/deep /proc /proc/sys/kernel /sys /opt/overnight"
    script = (
        f"for d in {good}; do touch $d/probe || echo cannot $d; done; "
        f"for d in {bad}; do touch $d/probe 2>/dev/null && echo can $d; done; "
        "for f in core_pattern modprobe hotplug; do "
        "(: >> /proc/sys/kernel/$f) 2>/dev/null && echo can $f; done; "
        "(: >> /proc/sysrq-trigger) 2>/dev/null && echo can sysrq; ls /cache/deep; true"
    )
    result = await sandbox.run(Command(script=script))
    expect(result.exit_code == 0 and result.stdout == b"", "places to write", result)
    expect((shared / "writable/probe").exists(), "a writable bind")
    await sandbox.close()


async def is_not_root(room: Room) -> None:
    """The host's kernel sees a user without privileges."""
    token = str(uuid.uuid4().int)[:18]
    ready = asyncio.Event()
    sandbox = room.open()
    # The last word keeps the shell from becoming its last command.
    script = f": {token}; echo ready; sleep 3600; :"
    running = asyncio.create_task(sandbox.run(Command(script=script), _setting(ready)))
    await ready.wait()
    try:
        shells = [process for process in host_processes(token) if _is_shell(process)]
        expect(bool(shells), "the process is found")
        lines = Path(f"/proc/{shells[0]}/status").read_text().splitlines()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    values = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    expect("0" not in values["Uid"] and "0" not in values["Gid"], f"uid {values['Uid']} gid {values['Gid']}")
    expect(values["CapEff"] == ["0" * 16] and values["CapPrm"] == ["0" * 16], "no capabilities")
    expect(values["NoNewPrivs"] == ["1"] and values["Seccomp"] == ["2"], "no new privileges, filter on")
    await sandbox.close()


def _is_shell(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"/bin/bash\0")
    return False


async def calls_are_refused(room: Room) -> None:
    """Namespaces, mounts, kernel interfaces and odd socket families are closed."""
    sandbox = room.open()
    result = await sandbox.run(Command(argv=("python3", "-I", "-c", REFUSED_CALLS)))
    expect(result.exit_code == 0 and result.stdout == b"", "calls that must be refused", result)
    await sandbox.close()


async def processes_are_bounded(room: Room) -> None:
    """A fork bomb comes to its end and harms nobody."""
    limits = Limits(command_seconds=30, processes=64)
    script = (
        "import os, time\nn = 0\ntry:\n while n < 5000:\n"
        "  if os.fork() == 0:\n   time.sleep(60); os._exit(0)\n  n += 1\nexcept OSError: pass\nprint(n)"
    )
    sandbox = room.open(limits)
    result = await sandbox.run(Command(argv=("python3", "-I", "-c", script)))
    expect(result.exit_code == 0 and 10 < int(result.stdout) <= 8 * limits.processes, "processes", result)
    await sandbox.close()


async def overlay_keeps_the_base(room: Room) -> None:
    """The base stays as it was; changes and deletions lie in the upper layer."""
    needs_overlay(room)
    sandbox = room.open()
    script = "echo more >> kept.txt; rm gone.txt; rm -r folder; mkdir folder; echo new > folder/new.txt"
    result = await sandbox.run(Command(script=script))
    expect(result.exit_code == 0, "changes", result)
    for name in ("kept.txt", "gone.txt", "folder/inner.txt"):
        expect((room.lower / name).read_text() == "base\n", f"{name} of the base")
    expect((room.upper / "kept.txt").read_text() == "base\nmore\n", "a change in the upper layer")
    gone = (room.upper / "gone.txt").lstat()
    expect(stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0, "a deletion is a whiteout")
    opaque = os.getxattr(room.upper / "folder", "user.overlay.opaque")
    expect(opaque == b"y", "a directory that was replaced is opaque")
    result = await sandbox.run(Command(script="ls . folder"))
    expect(result.stdout == b".:\nfolder\nkept.txt\n\nfolder:\nnew.txt\n", "the next command sees it", result)
    await sandbox.close()


async def scratch_lasts(room: Room) -> None:
    """With a scratch directory `/tmp` and the home last from sandbox to sandbox; without, they do not."""
    for scratch in (True, False):
        sandbox = room.open(scratch=scratch)
        await sandbox.run(Command(script="echo a > /tmp/a; echo b > ~/b"))
        await sandbox.close()  # it starts again with the next command
        result = await sandbox.run(Command(script="cat /tmp/a ~/b"))
        expect((result.stdout == b"a\nb\n") is scratch, "scratch", result)
        await sandbox.close()


EVERY: tuple[Case, ...] = (
    output_and_exit,
    directory_and_files,
    environment_is_clean,
    stdin_ends,
    nothing_survives,
    commands_go_on,
    files_hold_still,
    output_is_bounded,
    files_are_bounded,
    memory_is_bounded,
    *LASTING,
)
CONFINED: tuple[Case, ...] = (
    network_is_closed,
    host_is_hidden,
    only_own_places_are_writable,
    is_not_root,
    calls_are_refused,
    processes_are_bounded,
    overlay_keeps_the_base,
    scratch_lasts,
    *CONFINED_LASTING,
    *HARDENED,
)
