"""Layers: built once by many, never in half whatever dies or runs full, verified, and evicted in order."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from overnight.domain.errors import DiskFullError
from overnight.environments import seal
from overnight.environments.layer_store import Built, LayerStore

pytestmark = pytest.mark.anyio

BUILDER = """
import asyncio, os, sys
from pathlib import Path
from overnight.environments import seal
from overnight.environments.layer_store import LayerStore

root, steps = Path(sys.argv[1]), int(sys.argv[2])
done = 0

def step(_event, _args):
    # Every call that touches the disk is an instant to die at.
    global done
    calls = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "os.utime")
    if _event in calls or (_event == "open" and str(root) in str(_args)):
        done += 1
        if done == steps:
            os.kill(os.getpid(), 9)

async def build(folder):
    for number in range(5):
        (folder / str(number)).write_text("x" * 100)
    (folder / "deep").mkdir()
    (folder / "deep/file").write_text("deep")

sys.addaudithook(step)
layer = asyncio.run(LayerStore(root).get("kind", "name", build))
print("whole", flush=True)
"""


async def whole(folder: Path) -> None:
    for number in range(5):
        (folder / str(number)).write_text("x" * 100)
    (folder / "deep").mkdir()
    (folder / "deep/file").write_text("deep")


def intact(path: Path) -> bool:
    return (
        all((path / str(number)).read_text() == "x" * 100 for number in range(5))
        and (path / "deep/file").read_text() == "deep"
    )


@pytest.mark.parametrize("first", [1, 4, 7, 10, 13, 16, 19, 22, 25])
async def test_a_builder_killed_anywhere_leaves_nothing_that_is_used(tmp_path: Path, first: int) -> None:
    for steps in range(first, first + 3):
        root = tmp_path / str(steps)
        root.mkdir()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", BUILDER, str(root), str(steps)],
            capture_output=True,
            timeout=120,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        left = root / "kind/name"
        if left.exists():
            assert seal.verify(left) == "", "what is in place is whole"
        layer = await LayerStore(root).get("kind", "name", whole)
        assert intact(layer.path)
        assert seal.verify(layer.path) == ""
        LayerStore(root).prune(10**9)
        assert list((root / "building").iterdir()) == []


async def test_builders_in_several_processes_build_once(tmp_path: Path) -> None:
    script = BUILDER.replace(
        "async def build(folder):", "async def build(folder):\n    print('built', flush=True)"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(tmp_path), "-1", stdout=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    printed = b"".join([(await process.communicate())[0] for process in processes])
    assert printed.count(b"built") == 1
    assert printed.count(b"whole") == 4
    holder = (tmp_path / "locks/kind-name.build").read_text().split()
    assert int(holder[0]) in {process.pid for process in processes}
    assert holder[1].isdigit()


@pytest.fixture
def tiny(tmp_path: Path) -> Generator[Path]:
    """Return a file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_a_full_disk_leaves_nothing_and_is_said_in_one_line(tiny: Path) -> None:
    async def large(folder: Path) -> None:
        (folder / "half").write_bytes(b"x" * 600_000)
        (folder / "rest").write_bytes(b"x" * 600_000)

    store = LayerStore(tiny / "store")
    with pytest.raises(DiskFullError) as caught:
        await store.get("kind", "large", large)
    assert "full" in caught.value.message
    assert "\n" not in caught.value.message
    assert "prune" in caught.value.hint
    assert not (tiny / "store/kind/large").exists()
    assert list((tiny / "store/building").iterdir()) == []
    assert intact((await store.get("kind", "small", whole)).path), "there is room again"


async def test_a_disk_that_fills_up_before_the_seal(tiny: Path) -> None:
    async def exact(folder: Path) -> None:
        (folder / "much").write_bytes(b"x" * 100)
        handle = os.open(folder / "all", os.O_CREAT | os.O_WRONLY)
        with suppress(OSError):
            while True:
                os.write(handle, b"x" * 4096)
        os.close(handle)

    with pytest.raises(DiskFullError):
        await LayerStore(tiny / "store").get("kind", "exact", exact)
    assert LayerStore(tiny / "store").find("kind", "exact") is None


@pytest.mark.parametrize("damage", ["changed", "removed", "added", "mode", "manifest"])
async def test_damage_is_found_by_reading_everything(tmp_path: Path, damage: str) -> None:
    store = LayerStore(tmp_path / "store")
    path = (await store.get("kind", "name", whole)).path
    assert store.verify() == {}
    match damage:
        case "changed":
            (path / "deep/file").write_text("dEep")
        case "removed":
            (path / "4").unlink()
        case "added":
            (path / "zzz").touch()
        case "mode":
            (path / "3").chmod(0o755)
        case _:
            (path / "manifest").write_bytes((path / "manifest").read_bytes().replace(b"deep", b"dEEp"))
    assert list(store.verify()) == ["kind-name"]
    assert not path.exists()
    assert not (await store.get("kind", "name", whole)).reused


async def test_a_moved_store_is_verified_and_used(tmp_path: Path) -> None:
    store = LayerStore(tmp_path / "store")
    for name in ("good", "bad", "cut"):
        await store.get("kind", name, whole)
    store.close()
    shutil.copytree(tmp_path / "store", tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/kind/bad/2").write_text("y" * 100)
    (tmp_path / "copy/kind/cut/seal").write_bytes(b"")
    copy = LayerStore(tmp_path / "copy")
    assert (await copy.get("kind", "good", whole)).reused
    for name in ("bad", "cut"):
        layer = await copy.get("kind", name, whole)
        assert not layer.reused
        assert intact(layer.path)


async def test_layers_beneath_others_stay(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)

    async def above(folder: Path) -> Built:
        (folder / "above").write_text("x")
        return Built(parents=("kind-base",))

    await store.get("kind", "base", whole)
    await store.get("kind", "above", above)
    store.close()
    os.utime(tmp_path / "kind/base", (0, 0))
    other = LayerStore(tmp_path)
    assert other.find("kind", "above") is not None
    assert store.prune(0) == 0, "held, and what it stands on with it"
    assert (tmp_path / "kind/base").stat().st_mtime > 1, "using a layer is using what is beneath"
    other.close()
    shutil.move(tmp_path / "kind/base", tmp_path / "elsewhere")
    assert store.find("kind", "above") is None, "without what it stands on it is nothing"
    shutil.move(tmp_path / "elsewhere", tmp_path / "kind/base")
    assert store.find("kind", "above") is not None
    store.close()
    assert store.prune(0) > 0
    assert list((tmp_path / "kind").iterdir()) == []


async def test_layers_go_with_age(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    for name, age in (("old", 5000), ("young", 10), ("held", 9000)):
        path = (await store.get("kind", name, whole)).path
        os.utime(path, (time.time() - age, time.time() - age))
    holder = LayerStore(tmp_path)
    holder.find("kind", "held")
    os.utime(tmp_path / "kind/held", (0, 0))
    assert store.prune(10**9, max_age=1000) > 0
    assert sorted(path.name for path in (tmp_path / "kind").iterdir()) == ["held", "young"]
    holder.close()
