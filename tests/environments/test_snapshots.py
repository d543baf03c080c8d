"""Snapshots: built once, shared, never in half; setup in the real sandbox with a real repository."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.domain.errors import OvernightError, SetupError
from overnight.domain.events import CommandEnded, CommandOutput, CommandStarted, PhaseChanged
from overnight.environments.client_settings import ClientSettings, SettingsFile, find_client_settings
from overnight.environments.interface import Workspace
from overnight.environments.layer_store import LayerStore
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import read_commit
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.git.mirror import Mirror
from overnight.sandbox.interface import Command, SandboxBackend
from overnight.sandbox.unconfined import UnconfinedBackend
from tests.environments.environment_parts import PLAIN, commit_all, mirrored
from tests.sink import Sink

pytestmark = pytest.mark.anyio

FILES: dict[str, str | bytes] = {"lock": "1\n", **{f"f{number}.txt": f"{number}\n" for number in range(9)}}


def make_workspace(root: Path, backend: SandboxBackend, snapshot: Snapshot) -> Workspace:
    """Return a fresh workspace over a snapshot."""
    return Workspaces(root / "workspaces", backend, BlobStore(root / "blobs")).create(snapshot, "one")


@pytest.fixture
async def mirror(tmp_path: Path, repository: Path) -> Mirror:
    """Return the mirror of a repository with ten files."""
    commit_all(repository, FILES)
    return await mirrored(tmp_path, repository)


@pytest.fixture
async def commit(mirror: Mirror) -> str:
    """Return the mirror's newest commit."""
    return await mirror.resolve("main")


async def test_a_plain_snapshot_is_built_once(
    snapshots: Snapshots, mirror: Mirror, commit: str, sink: Sink
) -> None:
    first = await snapshots.prepare(mirror, commit, PLAIN, sink)
    assert not first.reused
    assert first.paths() == sorted(FILES)
    assert first.layers == first.checkout
    assert first.dependencies is None
    again = await snapshots.prepare(mirror, commit, PLAIN, sink)
    assert again.reused
    assert again.checkout == first.checkout
    assert sink.events[-1] == PhaseChanged(phase="preparing", detail="reusing snapshot")
    assert not any(isinstance(event, CommandStarted) for event in sink.events)


async def test_setup_runs_once_and_its_result_is_read_only(
    snapshots: Snapshots, backend: SandboxBackend, mirror: Mirror, commit: str, sink: Sink, tmp_path: Path
) -> None:
    recipe = Recipe(
        setup=(
            "echo built > /dependencies/x; mkdir -p node_modules/p made && echo m > node_modules/p/i.js",
            "echo e > made/e.txt; echo changed >> f1.txt; rm f2.txt; git config a.b c;"
            " echo said; echo oops >&2",
        ),
        variables={"COLOUR": "red"},
        lock_files=("lock", "missing.lock"),
    )
    snapshot = await snapshots.prepare(mirror, commit, recipe, sink)
    started = [event.command for event in sink.events if isinstance(event, CommandStarted)]
    assert started == list(recipe.setup)
    assert {event.purpose for event in sink.events if isinstance(event, CommandStarted)} == {"setup"}
    assert [event.exit_code for event in sink.events if isinstance(event, CommandEnded)] == [0, 0]
    said = {event.stream: event.text for event in sink.events if isinstance(event, CommandOutput)}
    assert said == {"stdout": "said\n", "stderr": "oops\n"}
    workspace = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs")).create(
        snapshot, "one"
    )
    assert workspace.changes() == []
    script = (
        "cat /dependencies/x node_modules/p/i.js made/e.txt f1.txt f2.txt; echo $COLOUR; git config a.b;"
        "touch /dependencies/y && echo WRITABLE; echo more >> made/e.txt; rm -r node_modules;"
        "git status --porcelain"
    )
    result = await backend.open(workspace.spec()).run(Command(script=script))
    assert result.stdout.startswith(b"built\nm\ne\n1\n2\nred\n")
    assert b"WRITABLE" not in result.stdout
    assert workspace.changes() == [], "what setup installed is no change, edited or not"
    workspace.close()


async def test_without_isolation_dependencies_are_a_real_directory(
    mirror: Mirror, commit: str, sink: Sink, tmp_path: Path
) -> None:
    backend = UnconfinedBackend(os.environ["PATH"])
    recipe = Recipe(
        setup=(
            "mkdir -p /dependencies/bin; "
            "echo 'echo ran' > /dependencies/bin/it; chmod +x /dependencies/bin/it",
        ),
        variables={"WHERE": "/dependencies/bin"},
        path=("/dependencies/bin",),
        checks=("it && /dependencies/bin/it && $WHERE/it",),
    )
    snapshot = await Snapshots(tmp_path / "snapshots", backend).prepare(mirror, commit, recipe, sink)
    workspace = make_workspace(tmp_path, backend, snapshot)
    result = await backend.open(workspace.spec()).run(Command(script=snapshot.recipe.checks[0]))
    assert (result.stdout, result.exit_code) == (b"ran\nran\nran\n", 0)
    assert workspace.changes() == []


async def test_setup_is_keyed_by_recipe_and_lock_files(
    snapshots: Snapshots, mirror: Mirror, commit: str, sink: Sink, repository: Path
) -> None:
    recipe = Recipe(setup=("date +%N > /dependencies/when",), lock_files=("lock",))
    first = await snapshots.prepare(mirror, commit, recipe, sink)
    commit_all(repository, {"f1.txt": "other\n"})
    await mirror.fetch()
    second = await snapshots.prepare(mirror, await mirror.resolve("main"), recipe, sink)
    assert second.dependencies == first.dependencies
    assert second.checkout != first.checkout
    assert not second.reused
    commit_all(repository, {"lock": "2\n"})
    await mirror.fetch()
    third = await snapshots.prepare(mirror, await mirror.resolve("main"), recipe, sink)
    assert third.dependencies != first.dependencies
    checked = msgspec.structs.replace(recipe, checks=("other",))
    assert (await snapshots.prepare(mirror, commit, checked, sink)).dependencies == first.dependencies
    other = msgspec.structs.replace(recipe, variables={"A": "1"})
    assert (await snapshots.prepare(mirror, commit, other, sink)).dependencies != first.dependencies


async def test_maintenance_runs_over_a_setup_that_is_used_again(
    snapshots: Snapshots, backend: SandboxBackend, mirror: Mirror, commit: str, sink: Sink,
    repository: Path, tmp_path: Path,
) -> None:  # fmt: skip
    recipe = Recipe(
        setup=("echo setup > /dependencies/log; mkdir made; echo 1 > made/file",),
        maintenance=("cat f1.txt >> /dependencies/log; echo 2 >> made/file; echo 3 > made/more",),
        lock_files=("lock",),
    )
    first = await snapshots.prepare(mirror, commit, recipe, sink)
    assert [event.command for event in sink.events if isinstance(event, CommandStarted)] == list(recipe.setup)
    second = commit_all(repository, {"f1.txt": "newer\n"})
    await mirror.fetch()
    sink.events.clear()
    later = await snapshots.prepare(mirror, second, recipe, sink)
    ran = [event.command for event in sink.events if isinstance(event, CommandStarted)]
    assert ran == list(recipe.maintenance)
    script = "cat /dependencies/log made/*; git status --porcelain"
    for name, snapshot, expected in (
        ("old", first, b"setup\n1\n?? made/\n"),
        ("new", later, b"setup\nnewer\n1\n2\n3\n?? made/\n"),
    ):
        workspaces = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs"))
        workspace = workspaces.create(snapshot, name)
        sandbox = backend.open(workspace.spec())
        assert (await sandbox.run(Command(script=script))).stdout == expected
        await sandbox.close()
        workspace.close()
    sink.events.clear()
    again = await snapshots.prepare(mirror, second, recipe, sink)
    assert again.reused
    assert again.key == later.key != first.key
    assert not any(isinstance(event, CommandStarted) for event in sink.events)


async def test_setup_is_keyed_by_the_versions_of_its_secrets(
    snapshots: Snapshots, mirror: Mirror, commit: str, sink: Sink
) -> None:
    recipe = Recipe(setup=("date +%N > /dependencies/when",))
    made = [
        await snapshots.prepare(mirror, commit, recipe, sink, secret_versions=versions)
        for versions in ((), ("a1", "b1"), ("b1", "a1"), ("a2", "b1"))
    ]
    assert made[1].key == made[2].key
    assert len({snapshot.key for snapshot in made}) == 3


async def test_a_disk_that_is_full_during_a_checkout(
    backend: SandboxBackend, repository: Path, tmp_path: Path, sink: Sink
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    commit = commit_all(repository, {f"large-{number}": os.urandom(200_000) for number in range(10)})
    mirror = await mirrored(tmp_path, repository)
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(place)]
    subprocess.run(mount, check=True)  # noqa: ASYNC221
    try:
        snapshots = Snapshots(place / "snapshots", backend)
        with pytest.raises(OvernightError) as caught:
            await snapshots.prepare(mirror, commit, PLAIN, sink)
        assert "\n" not in caught.value.message
        assert list((place / "snapshots/building").iterdir()) == []
        assert list((place / "snapshots/checkouts").iterdir()) == []
        snapshots.close()
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: ASYNC221


async def test_a_file_made_by_setup_never_hides_a_tracked_one(
    snapshots: Snapshots,
    backend: SandboxBackend,
    mirror: Mirror,
    commit: str,
    sink: Sink,
    repository: Path,
    tmp_path: Path,
) -> None:
    recipe = Recipe(setup=("echo generated > version.txt",), lock_files=("lock",))
    await snapshots.prepare(mirror, commit, recipe, sink)
    commit_all(repository, {"version.txt": "tracked\n"})
    await mirror.fetch()
    snapshot = await snapshots.prepare(mirror, await mirror.resolve("main"), recipe, sink)
    workspace = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs")).create(
        snapshot, "one"
    )
    result = await backend.open(workspace.spec()).run(Command(script="cat version.txt"))
    assert result.stdout == b"tracked\n"
    assert workspace.read("version.txt") == b"tracked\n"


async def test_failing_setup_says_how_and_leaves_nothing(
    snapshots: Snapshots, mirror: Mirror, commit: str, sink: Sink, tmp_path: Path
) -> None:
    recipe = Recipe(setup=("echo first; echo the reason >&2; exit 7", "echo never"))
    with pytest.raises(SetupError, match="exit code 7") as caught:
        await snapshots.prepare(mirror, commit, recipe, sink)
    assert "the reason" in caught.value.message
    assert ".overnight.toml" in caught.value.hint
    assert not any(isinstance(event, CommandStarted) and "never" in event.command for event in sink.events)
    assert list((tmp_path / "snapshots/building").iterdir()) == []
    slow = Recipe(setup=("tail -f /dev/null",), setup_seconds=0.5)
    with pytest.raises(SetupError, match="limit"):
        await snapshots.prepare(mirror, commit, slow, sink)


async def test_client_settings_reach_setup_and_nothing_else(
    snapshots: Snapshots, backend: SandboxBackend, mirror: Mirror, commit: str, sink: Sink, tmp_path: Path
) -> None:
    (tmp_path / "npmrc").write_text("token=secret\n")
    (tmp_path / "npmrc").chmod(0o600)
    settings = ClientSettings(
        variables={"PIP_INDEX_URL": "https://user:secret@index.example/simple"},
        files=(SettingsFile(tmp_path / "npmrc", "/overnight/settings/npmrc"),),
    )
    check = "test -n $PIP_INDEX_URL && test -s /overnight/settings/npmrc"
    snapshot = await snapshots.prepare(mirror, commit, Recipe(setup=(check,)), sink, settings=settings)
    workspace = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs")).create(
        snapshot, "one"
    )
    result = await backend.open(workspace.spec()).run(Command(script="env; cat /overnight/settings/npmrc"))
    assert b"secret" not in result.stdout + result.stderr
    assert result.exit_code != 0
    assert not list((tmp_path / "snapshots").rglob("*npmrc*"))
    for path in (tmp_path / "snapshots").rglob("*"):
        assert not path.is_file() or b"token=secret" not in path.read_bytes()


async def test_many_builders_build_once(
    backend: SandboxBackend, mirror: Mirror, commit: str, tmp_path: Path
) -> None:
    recipe = Recipe(setup=("echo x >> /dependencies/count; sleep 0.2",))
    sinks = [Sink() for _ in range(4)]
    stores = [Snapshots(tmp_path / "snapshots", backend) for _ in sinks]
    made = await asyncio.gather(
        *(store.prepare(mirror, commit, recipe, sink) for store, sink in zip(stores, sinks, strict=True))
    )
    runs = sum(isinstance(event, CommandStarted) for sink in sinks for event in sink.events)
    assert runs == 1
    assert len({snapshot.dependencies for snapshot in made}) == 1


BUILDER = """
import asyncio, sys
from pathlib import Path
from overnight.environments.interface import Workspace
from overnight.environments.layer_store import LayerStore

async def build(folder):
    (folder / "half").write_text("half")
    print("building", flush=True)
    await asyncio.sleep(60)

asyncio.run(LayerStore(Path(sys.argv[1])).get("kind", "name", build))
"""


async def test_a_killed_builder_leaves_no_half_layer(tmp_path: Path) -> None:
    root = tmp_path / "store"
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", BUILDER, str(root)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"building\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(list((root / "building").iterdir())) == 1

    async def build(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        (folder / "whole").write_text("whole")

    store = LayerStore(root)
    layer = await store.get("kind", "name", build)
    assert (layer.path / "whole").read_text() == "whole"
    assert list((root / "building").iterdir()) == []


async def test_prune_evicts_the_oldest_that_nobody_uses(tmp_path: Path) -> None:
    async def build(folder: Path) -> None:
        (folder / "content").write_bytes(b"x" * 100_000)

    mine, other = LayerStore(tmp_path), LayerStore(tmp_path)
    for number, name in enumerate(("old", "middle", "new")):
        path = (await mine.get("kind", name, build)).path
        os.utime(path, (number, number))
    await other.get("kind", "old", build)
    os.utime(tmp_path / "kind/old", (0, 0))
    assert mine.disk_bytes() > 300_000
    assert mine.prune(120_000, in_use=["kind-middle"]) > 0
    assert sorted(path.name for path in (tmp_path / "kind").iterdir()) == ["middle", "old"]
    other.close()
    mine.prune(0)
    assert list((tmp_path / "kind").iterdir()) == []
    assert not (await mine.get("kind", "old", build)).reused


def test_find_client_settings(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (tmp_path / "etc/pip.conf").write_text(f"[global]\nfind-links = {wheels}\n")
    (tmp_path / ".npmrc").write_text("x=y\n")
    (tmp_path / "ca.pem").write_text("certificate")
    environ = {
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_TARGET": "/somewhere",
        "UV_CACHE_DIR": "/cache",
        "https_proxy": "http://proxy:3128",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HOME": str(tmp_path),
    }
    settings = find_client_settings(environ, tmp_path, tmp_path / "etc")
    assert settings.variables["PIP_INDEX_URL"] == "https://index.example/simple"
    assert settings.variables["https_proxy"] == "http://proxy:3128"
    assert settings.variables["SSL_CERT_FILE"].startswith("/overnight/settings/")
    assert settings.variables["NPM_CONFIG_USERCONFIG"] == "/overnight/settings/npmrc"
    assert settings.variables["XDG_CONFIG_DIRS"] == "/overnight/settings/xdg-etc"
    assert not {"PIP_TARGET", "UV_CACHE_DIR", "AWS_SECRET_ACCESS_KEY", "HOME"} & set(settings.variables)
    assert settings.directories == (wheels,)
    assert {file.source.name for file in settings.files} == {"pip.conf", ".npmrc", "ca.pem"}


@pytest.mark.full
async def test_pip_installs_for_real(
    snapshots: Snapshots, backend: SandboxBackend, repository: Path, sink: Sink, tmp_path: Path
) -> None:
    commit = commit_all(
        repository,
        {
            "pyproject.toml": "[build-system]\n"
            'requires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
            '[project]\nname = "sample"\nversion = "1"\ndependencies = ["iniconfig"]\n',
            "src/sample/__init__.py": "import iniconfig\nANSWER = 42\n",
            "tests/test_sample.py": "import sample\n\ndef test_answer():\n    assert sample.ANSWER == 42\n",
        },
    )
    mirror = await mirrored(tmp_path, repository)
    recipe = load_recipe(await read_commit(mirror, commit))
    settings = find_client_settings(os.environ, Path.home())
    snapshot = await snapshots.prepare(mirror, commit, recipe, sink, settings=settings)
    workspace = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs")).create(
        snapshot, "one"
    )
    result = await backend.open(workspace.spec()).run(Command(script=recipe.checks[0]))
    assert result.exit_code == 0, result.stdout + result.stderr
    assert b"1 passed" in result.stdout
    workspace.write("src/sample/__init__.py", b"ANSWER = 41\n")
    result = await backend.open(workspace.spec()).run(Command(script=recipe.checks[0]))
    assert result.exit_code == 1
    assert [change.path for change in workspace.changes()] == ["src/sample/__init__.py"]
    assert (await snapshots.prepare(mirror, commit, recipe, sink)).reused
