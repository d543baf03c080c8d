"""Services inside a real sandbox: up before the first command, told when they die, gone with the sandbox."""

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from overnight.domain.environment import Recipe, Service
from overnight.domain.errors import SandboxUnavailableError, SetupError
from overnight.domain.events import CommandEnded, CommandOutput, CommandStarted, LimitHit, Noted
from overnight.environments.services import begin
from overnight.sandbox.choose import SandboxKind, choose
from overnight.sandbox.interface import Command, Sandbox, SandboxBackend, SandboxSpec
from tests.sink import Sink

SERVER = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
with open("port.new", "w") as file:
    file.write(str(server.getsockname()[1]))
os.rename("port.new", "port")
print("serving as", os.environ.get("ROLE"), flush=True)
while True:
    connection, _ = server.accept()
    asked = connection.recv(100)
    if asked == b"die":
        sys.exit("I was asked to die")
    connection.sendall(b"hello " + asked)
    connection.close()
"""
ASK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(open("port").read()))) as connection:
    connection.sendall(sys.argv[1].encode())
    print(connection.recv(100).decode())
"""
pytestmark = pytest.mark.anyio

ROLE = {"ROLE": "a test"}


@pytest.fixture(params=["none", "namespaces"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[SandboxBackend, Sandbox]]:
    """Return a sandbox in which a service can be reached, over an empty workspace."""
    kind: SandboxKind = request.param
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    try:
        backend = await choose(kind, state=state, search=os.environ["PATH"], home=Path.home())
    except SandboxUnavailableError as error:
        pytest.skip(f"{kind}: {error.message}")
    if kind == "namespaces" and not backend.lasting:
        pytest.skip(f"{backend.name}: every command has a network of its own")
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir(mode=0o755)
        if backend.owner is not None:
            os.chown(tmp_path / name, *backend.owner)
    (tmp_path / "upper" / "server.py").write_text(SERVER)
    (tmp_path / "upper" / "ask.py").write_text(ASK)
    spec = SandboxSpec(
        lower=(tmp_path / "lower",) if backend.overlay else (),
        upper=tmp_path / "upper",
        work=tmp_path / "work" if backend.overlay else None,
        scratch=tmp_path / "scratch",
        tools=("python3",),
    )
    sandbox = backend.open(spec)
    yield backend, sandbox
    await sandbox.close()


def python(backend: SandboxBackend, rest: str) -> str:
    """Return a command of the sandbox's Python; without isolation that is this one."""
    return f"{sys.executable if backend.name == 'none' else 'python3'} {rest}"


def serving(backend: SandboxBackend, **more: object) -> Service:
    values = {"seconds": 120.0, "variables": ROLE, "ready": python(backend, "ask.py you"), **more}
    return Service(name="greeter", command=python(backend, "server.py"), **values)  # pyright: ignore[reportArgumentType]


async def test_a_service_answers_before_the_first_command(
    place: tuple[SandboxBackend, Sandbox], sink: Sink
) -> None:
    backend, sandbox = place
    recipe = Recipe(services=(serving(backend),), start=(python(backend, "ask.py start > started"),))
    up = await begin(recipe, backend, sandbox, sink)
    answer = await sandbox.run(Command(script=python(backend, "ask.py world; cat started")))
    assert answer.stdout == b"hello world\nhello start\n", answer.stderr
    await up.close()
    after = await sandbox.run(Command(script=python(backend, "ask.py again")))
    assert after.exit_code != 0
    started = [event for event in sink.events if isinstance(event, CommandStarted)]
    assert [event.purpose for event in started] == ["service", "start"]
    said = [event.text for event in sink.events if isinstance(event, CommandOutput)]
    assert "serving as a test\n" in "".join(said)
    ended = [event for event in sink.events if isinstance(event, CommandEnded)]
    assert {event.command_id for event in ended} == {event.command_id for event in started}


async def test_one_that_dies_early_fails_with_its_last_words(
    place: tuple[SandboxBackend, Sandbox], sink: Sink
) -> None:
    backend, sandbox = place
    broken = Service(name="db", command="echo no such database >&2; exit 7", ready="false", seconds=120.0)
    with pytest.raises(SetupError) as caught:
        await begin(Recipe(services=(broken,)), backend, sandbox, sink)
    assert "'db' ended before it was ready (exit 7)" in caught.value.message
    assert "no such database" in caught.value.message
    assert [event.exit_code for event in sink.events if isinstance(event, CommandEnded)] == [7]


async def test_one_that_is_never_ready_is_a_named_limit(
    place: tuple[SandboxBackend, Sandbox], sink: Sink
) -> None:
    backend, sandbox = place
    slow = Service(name="slow", command="echo still loading; exec sleep 1000", ready="false", seconds=1.0)
    with pytest.raises(SetupError, match="was not ready after 1 s"):
        await begin(Recipe(services=(slow,)), backend, sandbox, sink)
    assert [event.limit for event in sink.events if isinstance(event, LimitHit)] == ["services.slow.seconds"]
    assert len([event for event in sink.events if isinstance(event, CommandEnded)]) == 1


async def test_one_that_dies_later_is_told(place: tuple[SandboxBackend, Sandbox], sink: Sink) -> None:
    backend, sandbox = place
    up = await begin(Recipe(services=(serving(backend),)), backend, sandbox, sink)
    await sandbox.run(Command(script=python(backend, "ask.py die")))
    await up.ended()
    await up.close()
    (note,) = [event.text for event in sink.events if isinstance(event, Noted)]
    assert "'greeter' ended (exit 1)" in note
    assert "I was asked to die" in note


async def test_a_failing_start_command_is_named_and_stops_the_services(
    place: tuple[SandboxBackend, Sandbox], sink: Sink
) -> None:
    backend, sandbox = place
    recipe = Recipe(services=(serving(backend),), start=("echo no migrations; exit 3", "touch never"))
    with pytest.raises(SetupError) as caught:
        await begin(recipe, backend, sandbox, sink)
    assert "exit 3" in caught.value.message
    assert "no migrations" in caught.value.message
    assert (await sandbox.run(Command(script="test -e never"))).exit_code == 1
    assert (await sandbox.run(Command(script=python(backend, "ask.py x")))).exit_code != 0


async def test_output_of_a_service_cannot_fill_the_log(
    place: tuple[SandboxBackend, Sandbox], sink: Sink
) -> None:
    backend, sandbox = place
    noisy = Service(
        name="noisy",
        command="head -c 3000000 /dev/zero | tr '\\0' x; touch done; exec sleep 1000",
        ready="test -e done",
        seconds=120.0,
    )
    up = await begin(Recipe(services=(noisy,)), backend, sandbox, sink)
    await up.close()
    told = sum(len(event.text) for event in sink.events if isinstance(event, CommandOutput))
    assert told < 300_000


async def test_where_services_are_out_of_reach_that_is_said(
    backend: SandboxBackend, tmp_path: Path, sink: Sink
) -> None:
    """bubblewrap makes namespaces anew for every command, so nothing could reach the service."""
    assert not backend.lasting
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
        if backend.owner is not None:
            os.chown(tmp_path / name, *backend.owner)
    spec = SandboxSpec(lower=(tmp_path / "lower",), upper=tmp_path / "upper", work=tmp_path / "work")
    sandbox = backend.open(spec)
    recipe = Recipe(services=(Service(name="redis", command="exit 9"),), start=("touch begun",))
    await (await begin(recipe, backend, sandbox, sink)).close()
    (note,) = [event.text for event in sink.events if isinstance(event, Noted)]
    assert "redis" in note
    assert "namespaces" in note
    assert (await sandbox.run(Command(script="test -e begun"))).exit_code == 0
    await sandbox.close()


@pytest.mark.parametrize("program", ["redis-server", "postgres"])
async def test_a_known_image_is_served_by_a_program_of_this_machine(
    place: tuple[SandboxBackend, Sandbox], sink: Sink, program: str
) -> None:
    from overnight.environments.importers.images import local_service
    from tests.environments.recipes import HOST

    backend, sandbox = place
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine")
    if backend.name == "none" and os.geteuid() == 0:
        pytest.skip(f"{program} does not run as root, which `none` is here")
    image = {"redis-server": "redis:7", "postgres": "postgres:16"}[program]
    service = local_service("it", image, {"POSTGRES_DB": "shop"}, None, HOST)
    assert isinstance(service, Service)
    up = await begin(Recipe(services=(service,)), backend, sandbox, sink)
    port = {"redis-server": 6379, "postgres": 5432}[program]
    answer = await sandbox.run(Command(script=f"exec 3<>/dev/tcp/127.0.0.1/{port}"))
    assert answer.exit_code == 0, answer.stderr
    await up.close()
