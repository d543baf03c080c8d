"""A user of its own for each sandbox that root starts: with its files mapped, and where they cannot be."""

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.examination import examine
from overnight.sandbox.interface import Command, SandboxBackend
from overnight.sandbox.native import syscalls
from overnight.sandbox.native.attached import make_over_attached
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.native.identities import COUNT, FIRST, Identities
from overnight.sandbox.native.sandbox import NamespacesSandbox
from overnight.sandbox.native.users import open_map
from overnight.sandbox.processes import OWNER
from overnight.sandbox.room import Room
from overnight.sandbox.tools import HostTools
from tests.processes import gone, running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="started by an ordinary user, sandboxes are that user"),
]


@pytest.fixture
def backend(folder: Path) -> NamespacesBackend:
    """Return a backend that agrees with nobody else who has which user."""
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    return NamespacesBackend(tools, folder / "state", runtime=folder / "runtime")


async def _run(sandbox: object, script: str) -> str:
    assert isinstance(sandbox, NamespacesSandbox)
    result = await sandbox.run(Command(script=script))
    assert result.exit_code == 0, result
    return result.stdout.decode()


async def test_those_that_live_at_once_are_apart_and_others_may_follow(room: Room) -> None:
    one, two = room.open(), room.open()
    assert isinstance(one, NamespacesSandbox)
    assert isinstance(two, NamespacesSandbox)
    for sandbox in (one, two):
        assert await _run(sandbox, "id -u; id -g; stat -c %u kept.txt") == "200000\n200000\n200000\n"
    users = {one.user, two.user}
    assert None not in users
    assert OWNER not in users
    assert len(users) == 2
    await one.close()
    again = room.open()
    await _run(again, "true")
    assert isinstance(again, NamespacesSandbox)
    assert again.user != two.user
    await two.close()
    await again.close()


async def test_a_file_system_without_maps_makes_it_share(room: Room, backend: NamespacesBackend) -> None:
    """The kernel's own file system of settings has none; a layer there is shown to the one shared user."""
    sandbox = room.open()
    assert isinstance(sandbox, NamespacesSandbox)
    spec = sandbox._spec  # pyright: ignore[reportPrivateUsage]
    layers = (*spec.lower, Path("/sys/kernel/mm"))
    other = backend.open(msgspec.structs.replace(spec, lower=layers))
    assert await _run(other, "cat kept.txt; echo more >> kept.txt; id -u; ls -d hugepages 2>&1 || true")
    assert other.user == OWNER
    assert (room.upper / "kept.txt").read_text() == "base\nmore\n"
    assert (room.upper / "kept.txt").stat().st_uid == OWNER[0]
    await other.close()


async def test_layers_may_be_attached_for_kernels_that_want_that(room: Room) -> None:
    room.open()
    place = room.upper.parent
    users = open_map(OWNER, (FIRST, FIRST))
    lower, whole = (syscalls.open_tree(str(each), below=False) for each in (room.lower, place))
    for tree in (lower, whole):
        syscalls.set_attributes(tree, 0, users)
    options: list[tuple[str, str | None]] = [
        ("lowerdir", f"/proc/self/fd/{lower}"),
        ("upperdir", f"/proc/self/fd/{whole}/upper"),
        ("workdir", f"/proc/self/fd/{whole}/work"),
        ("userxattr", None),
    ]
    before = Path("/proc/self/mountinfo").read_text()
    mount = make_over_attached((lower, whole), partial(syscalls.make_mount, "overlay", options, 0))
    assert os.stat("kept.txt", dir_fd=mount).st_uid == FIRST
    file = os.open("kept.txt", os.O_WRONLY | os.O_APPEND, dir_fd=mount)
    os.write(file, b"more\n")
    assert (room.upper / "kept.txt").read_text() == "base\nmore\n"
    assert (room.upper / "kept.txt").stat().st_uid == OWNER[0]
    assert Path("/proc/self/mountinfo").read_text().count(str(place)) == before.count(str(place))
    for descriptor in (file, mount, lower, whole, users):
        os.close(descriptor)


async def test_doctor_says_which_holds(backend: NamespacesBackend, folder: Path) -> None:
    async def chosen(kind: str, backend: SandboxBackend = backend) -> SandboxBackend:
        return backend

    assert (await examine("namespaces", chosen)).enforces["users"] == "one of its own for each sandbox"
    (folder / "file").touch()
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    shared = NamespacesBackend(tools, folder / "state", runtime=folder / "file" / "runtime")
    said = (await examine("namespaces", partial(chosen, backend=shared))).enforces["users"]
    assert said.startswith("one for all sandboxes (")
    assert "Not a directory" in said


async def test_no_user_is_left_is_said(room: Room, folder: Path) -> None:
    await room.run("true")  # makes the place
    others = Identities(folder / "runtime")
    taken = [others.take() for _ in range(COUNT - 2)]  # but for one that is kept, and one made ahead
    sandboxes = [room.open() for _ in range(3)]
    for sandbox in sandboxes[:2]:
        await _run(sandbox, "true")
    with pytest.raises(SandboxUnavailableError, match="No user is left"):
        await _run(sandboxes[2], "true")
    taken.pop().give_back(ended=True)
    others.let_go()
    await _run(sandboxes[2], "true")
    for sandbox in sandboxes:
        await sandbox.close()


_WORKER = """
import asyncio, sys
from pathlib import Path
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.room import Room
from overnight.sandbox.interface import Command
from overnight.sandbox.tools import HostTools
async def main(folder, token):
    tools = HostTools("/usr/bin:/bin", Path.home(), Path(sys.base_prefix))
    room = Room(NamespacesBackend(tools, folder / "state", ahead=2, runtime=folder / "runtime"), folder)
    sandboxes = [room.open() for _ in range(3)]
    for sandbox in sandboxes:
        await sandbox.run(Command(script=f"(setsid bash -c ': {token}; sleep 3600; :' >/dev/null 2>&1 &)"))
    print("ready", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_a_killed_worker_takes_no_user_with_it(folder: Path) -> None:
    token = os.urandom(8).hex()
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORKER, folder, token, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"ready\n"
    used = {Path(f"/proc/{process}").stat().st_uid for process in running(f": {token};")}
    assert len(used) == 3
    first = Identities(folder / "runtime")
    taken = {first.take().number for _ in range(COUNT - 16)}
    assert not taken & used, "while it lives they are its own"
    worker.kill()
    await worker.wait()
    assert gone(f": {token};")
    numbers: set[int] = set()
    async with asyncio.timeout(240):
        while numbers | taken != set(range(FIRST, FIRST + COUNT)):
            try:  # what was held ready may take a moment to end
                numbers.add(first.take().number)
            except SandboxUnavailableError:
                await asyncio.sleep(0.01)
