"""The life of the shared model server: one for all, restarted when it dies, gone when idle."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec
import pytest

from overnight.domain.conversation import Message, Request
from overnight.domain.errors import ContextOverflowError, ModelUnavailableError
from overnight.domain.process import process_started
from overnight.models import embedded
from overnight.models.catalog import EMBEDDED
from overnight.models.embedded import EmbeddedModel
from overnight.models.server import ModelServer
from overnight.models.server_files import ServerParameters, ServerState

pytestmark = pytest.mark.anyio

COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("stand_in_server.py")))
Open = Callable[..., EmbeddedModel]


def ask(text: str) -> Request:
    return Request(messages=(Message(role="user", text=text),))


def server_of(model: EmbeddedModel) -> ModelServer:
    return model._server  # pyright: ignore[reportPrivateUsage]


def starts(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "model.starts").read_text().split()]


async def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.02)


@pytest.fixture
async def open_model(tmp_path: Path) -> AsyncGenerator[Open]:
    """Opens clients of one stand-in server; ends it after the test."""
    models: list[EmbeddedModel] = []

    def make(**settings: float) -> EmbeddedModel:
        parameters = ServerParameters(model_path=str(tmp_path / "model.gguf"), **settings)  # pyright: ignore[reportArgumentType]
        model = EmbeddedModel("embedded", EMBEDDED, ModelServer(tmp_path, parameters, COMMAND))
        models.append(model)
        return model

    yield make
    for model in models:
        await server_of(model).stop()
        await model.close()


async def test_tokens_are_told_where_the_profile_asks_for_them(open_model: Open) -> None:
    model = open_model()
    assert (await model.complete(ask("hi"))).trace is None
    model.profile = msgspec.structs.replace(model.profile, token_trace=True)
    trace = (await model.complete(ask("hi"))).trace
    assert trace is not None
    assert (trace.ids, trace.logprobs) == ((42,), (-0.5,))


async def test_many_clients_start_one_server(open_model: Open, tmp_path: Path) -> None:
    models = [open_model() for _ in range(4)]
    waits: list[str] = []
    deltas: list[str] = []
    answers = await asyncio.gather(
        *(model.complete(ask("hi"), deltas.append, waits.append) for model in models)
    )
    assert len(starts(tmp_path)) == 1
    assert {answer.text for answer in answers} == {f"{starts(tmp_path)[0]}:hi"}
    assert answers[0].usage.input_tokens == 7
    assert answers[0].usage.cached_tokens == 3
    assert "loading the model" in waits
    assert "".join(deltas).count("hi") == 4


CLIENT = """
import asyncio, sys
from pathlib import Path
from tests.models.test_server import COMMAND, EMBEDDED, EmbeddedModel, ModelServer, ServerParameters, ask

async def main():
    parameters = ServerParameters(model_path=sys.argv[1])
    model = EmbeddedModel("embedded", EMBEDDED, ModelServer(Path(sys.argv[1]).parent, parameters, COMMAND))
    print((await model.complete(ask("hi"))).text)
    await model.close()

asyncio.run(main())
"""


async def test_two_processes_share_one_server(open_model: Open, tmp_path: Path) -> None:
    open_model()
    root = Path(__file__).parents[2]
    clients = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, str(tmp_path / "model.gguf"), cwd=root, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = [(await client.communicate())[0].decode().strip() for client in clients]
    (pid,) = starts(tmp_path)
    assert outputs == [f"{pid}:hi"] * 2


async def test_a_server_that_is_killed_is_started_again(open_model: Open, tmp_path: Path) -> None:
    model = open_model()
    await model.complete(ask("hi"))
    os.kill(starts(tmp_path)[0], signal.SIGKILL)
    answer = await model.complete(ask("again"))
    assert len(starts(tmp_path)) == 2
    assert answer.text == f"{starts(tmp_path)[1]}:again"


async def test_a_server_that_dies_in_an_answer_is_asked_again(open_model: Open, tmp_path: Path) -> None:
    waits: list[str] = []
    answer = await open_model().complete(ask("die"), None, waits.append)
    assert answer.text == f"{starts(tmp_path)[1]}:die"
    assert any("restart" in wait for wait in waits)


async def test_a_server_that_hangs_is_ended(
    open_model: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SILENCE_SECONDS", 0.5)
    answer = await open_model().complete(ask("hang"))
    assert answer.text == f"{starts(tmp_path)[1]}:hang"


async def test_a_server_ends_when_nobody_asks(open_model: Open, tmp_path: Path) -> None:
    model = open_model(idle_seconds=0.6)
    await model.complete(ask("hi"))
    files = server_of(model).files
    await until(lambda: not files.alive())
    assert not files.state.exists()
    assert (await model.complete(ask("back"))).text == f"{starts(tmp_path)[1]}:back"


async def test_a_server_ends_when_its_clients_have_gone(open_model: Open) -> None:
    model = open_model(orphan_seconds=0.6)
    await model.complete(ask("hi"))
    files = server_of(model).files
    await model.close()
    await until(lambda: not files.alive())


async def test_a_server_stays_while_a_client_lives(open_model: Open) -> None:
    model = open_model(orphan_seconds=0.1)
    other = open_model(orphan_seconds=0.1, idle_seconds=300.0)
    await model.complete(ask("hi"))
    assert server_of(other).files.directory == server_of(model).files.directory
    log = server_of(model).files.log
    # The watch goes round: it empties a log that has grown, some time after it looked for clients.
    with log.open("ab") as file:
        file.truncate(3 * 1024**2)
    await until(lambda: log.stat().st_size == 0)
    assert server_of(model).files.alive()


async def test_a_stale_state_is_not_believed(open_model: Open, tmp_path: Path) -> None:
    model = open_model()
    files = server_of(model).files
    files.prepare()
    mine = process_started(os.getpid())
    files.write_state(ServerState(pid=os.getpid(), process_started=mine, url="http://127.0.0.1:9", token="x"))
    assert (await model.complete(ask("hi"))).text == f"{starts(tmp_path)[0]}:hi"


async def test_stop_never_kills_a_stranger(open_model: Open) -> None:
    model = open_model()
    await model.complete(ask("hi"))
    server = server_of(model)
    state = server.files.read_state()
    assert state is not None
    victim = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        server.files.write_state(ServerState(pid=victim.pid, process_started=state.process_started))
        assert not await server.stop()
        assert victim.returncode is None
    finally:
        victim.kill()
        await victim.wait()
        server.files.write_state(state)


async def test_a_server_that_cannot_load_says_why(open_model: Open, tmp_path: Path) -> None:
    (tmp_path / "model.broken").touch()
    with pytest.raises(ModelUnavailableError, match="not enough memory"):
        await open_model().complete(ask("hi"))
    assert len(starts(tmp_path)) == 3


async def test_a_prompt_that_does_not_fit(open_model: Open) -> None:
    with pytest.raises(ContextOverflowError, match="9000 tokens"):
        await open_model().complete(ask("too long"))


async def test_secrets_are_private(open_model: Open) -> None:
    model = open_model()
    await model.complete(ask("hi"))
    files = server_of(model).files
    assert files.state.stat().st_mode & 0o777 == 0o600
    assert files.directory.stat().st_mode & 0o777 == 0o700


async def test_ctrl_c_of_the_starter_does_not_reach_the_server(open_model: Open, tmp_path: Path) -> None:
    model = open_model()
    await model.complete(ask("hi"))
    pid = starts(tmp_path)[0]
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)
