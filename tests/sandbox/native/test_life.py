"""The life of native sandboxes: made ahead, made again, ended with their owner, nothing left of them."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.domain.limits import Limits
from overnight.sandbox.cgroup import create_cgroup
from overnight.sandbox.interface import Bind, Command, SandboxSpec
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.native.sandbox import NamespacesSandbox
from overnight.sandbox.room import Room, host_processes
from overnight.sandbox.tools import HostTools
from tests.sandbox.native.conftest import control_groups

pytestmark = pytest.mark.anyio


CALLER = """
import asyncio, sys
from pathlib import Path
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.room import Room
from overnight.sandbox.interface import Command
from overnight.sandbox.tools import HostTools
async def main(folder, token):
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    backend = NamespacesBackend(tools, folder / "state")
    sandbox = Room(backend, folder).open()
    show = lambda stream, data: (sys.stdout.buffer.write(data), sys.stdout.flush())
    await sandbox.run(Command(script=f"(setsid sleep 3600.{token} >/dev/null 2>&1 &)"))
    await sandbox.run(Command(script=f"sleep 3600.{token} & echo ready; sleep 3600"), show)
asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_nothing_survives_a_killed_caller(folder: Path) -> None:
    token = str(uuid.uuid4().int)[:18]
    caller = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CALLER, folder, token, stdout=subprocess.PIPE
    )
    assert caller.stdout is not None
    assert await caller.stdout.readline() == b"ready\n"
    inside = [os.pidfd_open(process) for process in host_processes(token) if process != caller.pid]
    assert len(inside) >= 2
    caller.send_signal(signal.SIGKILL)
    await caller.wait()
    loop = asyncio.get_running_loop()
    for handle in inside:
        gone = asyncio.Event()
        loop.add_reader(handle, gone.set)
        await asyncio.wait_for(gone.wait(), 60)
        loop.remove_reader(handle)
        os.close(handle)
    # Its control groups go with the next process that makes some.
    sweep = "from overnight.sandbox.cgroup import create_cgroup; from overnight.domain.limits import Limits\n"
    sweep += "g = create_cgroup(Limits()); g and g.remove()"
    async with asyncio.timeout(60):
        while control_groups({caller.pid}):
            swept = await asyncio.create_subprocess_exec(sys.executable, "-c", sweep)
            assert await swept.wait() == 0


async def test_a_closed_sandbox_leaves_nothing(backend: NamespacesBackend, room: Room) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    groups = control_groups({os.getpid()})  # of other tests
    token = str(uuid.uuid4().int)[:18]
    for _ in range(3):
        sandbox = room.open()
        await sandbox.run(Command(script=f"(setsid sleep 3600.{token} &)"))
        await sandbox.start(Command(script=f"sleep 3600.{token}"))
        assert host_processes(token)
        await sandbox.close()
        assert not host_processes(token)
    backend._means.nursery.close()  # pyright: ignore[reportPrivateUsage]
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # noqa: PTH208
    assert not control_groups({os.getpid()}) - groups


async def test_a_forgotten_sandbox_ends(folder: Path) -> None:
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    backend = NamespacesBackend(tools, folder / "state")
    sandbox = Room(backend, folder).open()
    token = str(uuid.uuid4().int)[:18]
    await sandbox.run(Command(script=f"setsid sleep 3600.{token} >/dev/null 2>&1 &"))
    assert host_processes(token)
    del sandbox, backend
    async with asyncio.timeout(60):
        while host_processes(token):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_next_command_comes_from_a_sandbox_made_ahead(
    backend: NamespacesBackend, room: Room
) -> None:
    one = room.open()
    await one.run(Command(argv=("true",)))
    first = set(await _with_one_ahead(backend))
    two = room.open()
    await two.run(Command(argv=("true",)))
    # The second one's first process was there before it was asked for.
    assert first <= set(_first_processes(backend))
    await one.close()
    await two.close()


async def _with_one_ahead(backend: NamespacesBackend) -> list[int]:
    """Return the first processes of one sandbox in use and one made ahead, once we have hold of both."""
    nursery = backend._means.nursery  # pyright: ignore[reportPrivateUsage]
    async with asyncio.timeout(120):
        while True:
            ahead = [born.inside for kind in nursery._ready.values() for born in kind]  # pyright: ignore[reportPrivateUsage]
            for inside in ahead:
                inside.catch_up()
            # Its process and its map, the last descriptors that come.
            if any(inside.pid and inside._mapped.is_set() for inside in ahead):  # pyright: ignore[reportPrivateUsage]
                break
            await asyncio.sleep(0.005)
    return _first_processes(backend)


def _first_processes(backend: NamespacesBackend) -> list[int]:
    """Return the first processes of the sandboxes that the zygote has made, as the host sees them."""
    return [process for process in _children(_zygote(backend)) if _is_first(process)]


def _is_first(process: int) -> bool:
    """Say whether a process is the first of a process namespace: the zygote has short-lived others too."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[0] == "NSpid:" and line.split()[2:] == ["1"] for line in lines)


def _zygote(backend: NamespacesBackend) -> int:
    zygote = backend._means.nursery._zygote  # pyright: ignore[reportPrivateUsage]
    assert zygote is not None
    return zygote.pid


async def _dead(process: int) -> None:
    """Return when a process is no more."""
    async with asyncio.timeout(60):
        while Path(f"/proc/{process}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return list(map(int, text.split()))


async def test_a_killed_sandbox_is_made_again(backend: NamespacesBackend, room: Room) -> None:
    sandbox = room.open()
    await sandbox.run(Command(script="echo kept > kept-too.txt"))
    handles = [(process, os.pidfd_open(process)) for process in await _with_one_ahead(backend)]
    for _, handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    for process, handle in handles:
        await _dead(process)
        os.close(handle)
    result = await sandbox.run(Command(script="cat kept-too.txt"))
    assert result.stdout == b"kept\n"
    await sandbox.close()


async def test_a_killed_zygote_is_started_again(backend: NamespacesBackend, room: Room) -> None:
    sandbox = room.open()
    await sandbox.run(Command(argv=("true",)))
    await sandbox.close()
    os.kill(_zygote(backend), signal.SIGKILL)
    for _ in range(2):
        sandbox = room.open()
        try:
            result = await sandbox.run(Command(script="echo alive"))
        except SandboxUnavailableError:  # one that was made ahead died with it
            await sandbox.close()
            continue
        assert result.stdout == b"alive\n"
        await sandbox.close()


async def test_a_missing_source_is_named(backend: NamespacesBackend, folder: Path) -> None:
    sandbox = backend.open(SandboxSpec(lower=(), upper=folder / "missing"))
    with pytest.raises(SandboxUnavailableError, match="missing"):
        await sandbox.run(Command(argv=("true",)))
    await sandbox.close()


async def test_an_interpreter_that_does_not_start_is_one_line(folder: Path) -> None:
    tools = HostTools("", folder, folder)
    for python in (Path("/nowhere/python"), Path("/bin/false")):
        backend = NamespacesBackend(tools, folder / "state", python)
        sandbox = Room(backend, folder).open()
        with pytest.raises(SandboxUnavailableError, match="zygote did not start") as caught:
            await sandbox.run(Command(argv=("true",)))
        assert "\n" not in caught.value.message
        await sandbox.close()


async def test_many_layers(backend: NamespacesBackend, folder: Path) -> None:
    layers: list[Path] = []
    for number in range(24):
        layer = folder / f"a-layer-with-a-name-of-some-length-{number}"
        layer.mkdir()
        (layer / str(number)).write_text("x")
        layers.append(layer)
    for name in ("upper", "work"):
        (folder / name).mkdir()
        if backend.owner is not None:
            os.chown(folder / name, *backend.owner)
    spec = SandboxSpec(lower=tuple(layers), upper=folder / "upper", work=folder / "work")
    sandbox = backend.open(spec)
    result = await sandbox.run(Command(script="ls | wc -l; touch new"))
    assert result.stdout.strip() == b"24"
    await sandbox.close()
    assert (folder / "upper" / "new").exists()


async def test_a_host_path_that_the_sandbox_may_not_reach_can_be_shown(room: Room, folder: Path) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    (private / "shown").mkdir()
    (private / "shown" / "file").write_text("shown\n")
    sandbox = room.open(binds=(Bind(source=private / "shown", target="/cache/shown"),))
    result = await sandbox.run(Command(script="cat /cache/shown/file"))
    assert result.stdout == b"shown\n"
    await sandbox.close()


async def test_cancelling_at_any_moment_leaves_nothing(backend: NamespacesBackend, room: Room) -> None:
    token = f"3600.{uuid.uuid4().int}"
    sandbox = room.open(Limits(command_seconds=60))
    for _ in range(2):  # the second one opens the control group's counts, which stay open
        await sandbox.run(Command(argv=("true",)))
    await _with_one_ahead(backend)
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for turns in range(20):
        running = asyncio.create_task(sandbox.run(Command(argv=("sleep", token))))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not host_processes(token)
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # noqa: PTH208
    result = await sandbox.run(Command(script="echo alive"))
    assert result.stdout == b"alive\n"
    await sandbox.close()


async def test_cancelling_the_first_command_while_the_sandbox_is_made(room: Room) -> None:
    for turns in range(8):
        sandbox = room.open()
        running = asyncio.create_task(sandbox.run(Command(argv=("sleep", "3600"))))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sandbox.close()


_STARVE = "import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (4, 4))"


async def test_a_supervisor_starved_of_descriptors_gives_none_of_its_own_away(room: Room) -> None:
    sandbox = room.open()
    upper = room.upper
    starved = await sandbox.run(Command(argv=("python3", "-I", "-c", _STARVE)))
    assert starved.exit_code == 0
    ended = await sandbox.run(Command(script="readlink /proc/$$/fd/2 > seen; echo alive", seconds=60))
    assert not (upper / "seen").exists() or "memfd" not in (upper / "seen").read_text()
    assert ended.exit_code != 0 or ended.stdout == b"alive\n"
    after = await sandbox.run(Command(script="echo alive", seconds=60))
    assert after.stdout == b"alive\n"
    await sandbox.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="its descriptors are closed to all but root")
async def test_what_commands_inherit_is_no_file_that_sandboxes_share(room: Room) -> None:
    sandbox = room.open()
    await sandbox.run(Command(script="true"))
    assert isinstance(sandbox, NamespacesSandbox)
    born = sandbox._born  # pyright: ignore[reportPrivateUsage]
    assert born is not None
    shown = [str(Path(f"/proc/{born.inside.pid}/fd/{number}").readlink()) for number in range(3)]
    assert shown == ["/dev/null"] * 3
    await sandbox.close()


async def test_a_command_runs_in_the_control_groups_of_its_sandbox(room: Room) -> None:
    own = create_cgroup(Limits())
    if own is None:
        pytest.skip("this user may not make control groups")
    kinds = set(own.folders)
    own.remove()
    seen = await room.run("cat /proc/self/cgroup")
    groups: dict[str, str] = {}
    for line in seen.stdout.decode().splitlines():
        _, names, path = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), path)
    assert {kind for kind in kinds if f"/overnight-{os.getpid()}-" not in groups[kind]} == set()


async def test_output_beyond_what_a_pipe_holds_comes_whole_and_early(room: Room) -> None:
    first = asyncio.Event()
    sandbox = room.open()
    try:
        script = "head -c 200000 /dev/zero | tr '\\0' x; echo; read -r line; echo $line"
        going = await sandbox.start(Command(script=script, seconds=120), lambda stream, data: first.set())
        await asyncio.wait_for(first.wait(), 60)
        await going.write(b"last\n")
        result = await going.wait()
    finally:
        await sandbox.close()
    assert result.stdout == b"x" * 200_000 + b"\nlast\n"
