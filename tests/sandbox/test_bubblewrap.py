"""What is particular to the sandbox of bubblewrap: start by root, start-up failures, a killed caller."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.domain.limits import Limits
from overnight.sandbox.bubblewrap.arguments import Bubblewrap, command_arguments, find_bubblewrap
from overnight.sandbox.bubblewrap.backend import BubblewrapBackend
from overnight.sandbox.choose import choose
from overnight.sandbox.interface import Bind, Command, SandboxBackend, SandboxSpec
from overnight.sandbox.room import Room, host_processes
from overnight.sandbox.tools import HostTools

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend(tmp_path: Path) -> SandboxBackend:
    return await choose("bubblewrap", state=tmp_path / "state", search=os.environ["PATH"], home=Path.home())


async def test_a_success_is_remembered(backend: SandboxBackend, tmp_path: Path) -> None:
    assert backend.name == "bubblewrap"
    assert len(list((tmp_path / "state").glob("works-bubblewrap-*"))) == 1
    assert not list((tmp_path / "state").glob("self-test-*"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
async def test_a_preloaded_library_never_runs_with_privileges(
    backend: SandboxBackend, tmp_path: Path
) -> None:
    source = tmp_path / "evil.c"
    source.write_text(
        textwrap.dedent("""
        #include <stdio.h>
        #include <unistd.h>
        __attribute__((constructor)) static void run(void) {
            FILE *file = fopen("/tmp/who", "a");
            fprintf(file, "%d\\n", (int) geteuid());
            fclose(file);
        }
        """)
    )
    library = tmp_path / "evil.so"
    compiling = await asyncio.create_subprocess_exec("cc", "-shared", "-fPIC", "-o", library, source)
    assert await compiling.wait() == 0
    library.chmod(0o755)
    room = Room(backend, tmp_path / "room")
    sandbox = room.open(
        binds=(Bind(source=library, target="/cache/evil.so"),), variables={"LD_PRELOAD": "/cache/evil.so"}
    )
    result = await sandbox.run(Command(argv=("cat", "/tmp/who")))
    await sandbox.close()
    uid = str(backend.owner[0] if backend.owner else os.geteuid())
    assert set(result.stdout.decode().split()) == {uid}


def test_only_harmless_variables_are_set_before_the_uid_is_dropped() -> None:
    variables = {"A": "1", "LD_AUDIT": "x", "GLIBC_TUNABLES": "x", "LC_ALL": "x", "TZ": "x", "_X": "x"}
    setting, dropping, executed = command_arguments(["true"], "/workspace", variables, (1, 1))
    executed = [*dropping, *executed]
    assert setting == ["--setenv", "A", "1"]
    drop = executed.index("/usr/bin/env")
    assert executed[0] == "/usr/bin/setpriv"
    assert {"LD_AUDIT=x", "GLIBC_TUNABLES=x", "LC_ALL=x", "TZ=x", "_X=x"} <= set(executed[drop:])


async def test_a_sandbox_that_cannot_start_says_why(backend: SandboxBackend, tmp_path: Path) -> None:
    sandbox = backend.open(SandboxSpec(lower=(), upper=tmp_path / "missing"))
    with pytest.raises(SandboxUnavailableError, match="missing"):
        await sandbox.run(Command(argv=("true",)))
    await sandbox.close()


async def test_a_broken_bubblewrap_fails_the_choice_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho bubblewrap 0.12.0; exit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    with pytest.raises(SandboxUnavailableError) as caught:
        await choose("bubblewrap", state=tmp_path / "state", search=str(tmp_path), home=tmp_path)
    assert "--sandbox none" in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    assert not list((tmp_path / "state").glob("works-*"))


def test_an_old_bubblewrap_gives_way_to_the_bundled_one(tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho bubblewrap 0.8.0\n")
    (tmp_path / "bwrap").chmod(0o755)
    found = find_bubblewrap(str(tmp_path))
    assert found.program.parent != tmp_path
    assert found.version >= (0, 11, 0)


async def test_sandboxes_run_side_by_side(backend: SandboxBackend, tmp_path: Path) -> None:
    room = Room(backend, tmp_path)
    sandboxes = [room.open() for _ in range(6)]
    results = await asyncio.gather(
        *(sandbox.run(Command(script=f"echo {n} > n; cat n")) for n, sandbox in enumerate(sandboxes))
    )
    assert [result.stdout for result in results] == [b"%d\n" % n for n in range(6)]
    for sandbox in sandboxes:
        await sandbox.close()


async def test_cancelling_while_it_starts_leaves_nothing(backend: SandboxBackend, tmp_path: Path) -> None:
    room = Room(backend, tmp_path)
    sandbox = room.open()
    await sandbox.run(Command(argv=("true",)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    token = f"3600.{uuid.uuid4().int}"
    for turns in range(20):
        await sandbox.run(Command(script="echo x"))
        running = asyncio.create_task(sandbox.run(Command(argv=("sleep", token))))
        for _ in range(turns):  # cancelled at another stage of the start each time
            await asyncio.sleep(0.0005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not host_processes(token)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    await sandbox.close()


async def test_memory_is_bounded_without_a_control_group(backend: SandboxBackend, tmp_path: Path) -> None:
    room = Room(backend, tmp_path)
    sandbox = room.open(Limits(command_seconds=60, memory_bytes=100 * 1024**2))
    await sandbox.run(Command(argv=("true",)))
    await sandbox.close()  # gives the group back; what runs after it has none
    script = "b = bytearray(300 << 20)\ninput()"
    result = await sandbox.run(Command(script=f"python3 -I -c '{script}' < <(sleep 60)"))
    assert result.limit == "memory_bytes"


CALLER = """
import asyncio, sys
from pathlib import Path
from overnight.sandbox.choose import choose
from overnight.sandbox.conformance import Room
from overnight.sandbox.interface import Command
async def main(folder, token):
    backend = await choose("bubblewrap", state=folder / "state", search="/usr/bin:/bin", home=Path.home())
    sandbox = Room(backend, folder).open()
    show = lambda stream, data: (sys.stdout.buffer.write(data), sys.stdout.flush())
    await sandbox.run(Command(script=f"(setsid sleep 3600.{token} &); echo ready; sleep 3600"), show)
asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_nothing_survives_a_killed_caller(tmp_path: Path) -> None:
    token = str(uuid.uuid4().int)[:18]
    caller = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CALLER, tmp_path, token, stdout=subprocess.PIPE
    )
    assert caller.stdout is not None
    assert await caller.stdout.readline() == b"ready\n"
    sandboxed = [os.pidfd_open(process) for process in host_processes(token) if process != caller.pid]
    assert sandboxed
    caller.send_signal(signal.SIGKILL)
    await caller.wait()
    loop = asyncio.get_running_loop()
    for handle in sandboxed:
        gone = asyncio.Event()
        loop.add_reader(handle, gone.set)
        await asyncio.wait_for(gone.wait(), 10)
        loop.remove_reader(handle)
        os.close(handle)
    assert not host_processes(token)


async def test_the_hosts_network_only_where_asked_for(backend: SandboxBackend, tmp_path: Path) -> None:
    room = Room(backend, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = Command(script=f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo open")
        for network, output in (("none", b""), ("host", b"open\n")):
            sandbox = room.open(network="host" if network == "host" else "none")
            assert (await sandbox.run(command)).stdout == output
            await sandbox.close()


def test_a_backend_needs_no_loop(tmp_path: Path) -> None:
    backend = BubblewrapBackend(
        Bubblewrap(program=Path("/nowhere"), version=(0, 11, 0)),
        HostTools("", tmp_path, tmp_path),
        tmp_path / "state",
    )
    assert backend.owner == ((200_000, 200_000) if os.geteuid() == 0 else None)
