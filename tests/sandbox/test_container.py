"""The container backend against the shipped suite; skipped by name where no container engine works."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError, UsageError
from overnight.sandbox.conformance import CONFINED, EVERY, Case
from overnight.sandbox.container.image import resolve_image
from overnight.sandbox.container.live import remove_container
from overnight.sandbox.container.orphans import sweep
from overnight.sandbox.interface import Command, SandboxSpec
from overnight.sandbox.room import NotApplicable, Room
from tests.sandbox.conftest import case_name
from tests.sandbox.containers import containers, packed

pytestmark = [pytest.mark.anyio, pytest.mark.full]
SECRET = "canary-7f3a9c"


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A directory in which the engine was tried once for all tests; skips where none works."""
    if shutil.which("podman") is None and shutil.which("docker") is None:
        pytest.skip("container: neither podman nor docker is installed")
    path = Path(tempfile.mkdtemp(prefix="overnight-containers-"))
    path.chmod(0o755)
    try:
        try:
            asyncio.run(containers(path))
        except SandboxUnavailableError as error:
            pytest.skip(f"container: {error.message}")
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("case", [*EVERY, *CONFINED], ids=case_name)
async def test_container(case: Case, state: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TEST_SECRET", SECRET)
    backend = await containers(state)
    try:
        await case(Room(backend, folder, SECRET))
    except NotApplicable as reason:
        pytest.skip(str(reason))


async def test_an_image_brings_its_own_programs(state: Path, folder: Path) -> None:
    backend = await containers(state)
    name = f"overnight-test-{os.getpid()}:{folder.name.rpartition('-')[2].lower()}"
    changes = ("ENV=PATH=/bin:/usr/bin:/opt/own", "ENV=IMAGE_SAYS=hello", "LABEL=com.example.own=yes")
    options = [word for change in changes for word in ("--change", change)]
    content = packed(["/bin/bash", "/bin/cat", "/bin/ls"])
    try:
        await backend.engine.call("import", *options, "-", name, stdin=content)
        pinned = await backend.pin(name)
        assert pinned.startswith("sha256:")
        upper = folder / "upper"
        upper.mkdir()
        if backend.owner is not None:
            os.chown(upper, *backend.owner)
        sandbox = backend.open(SandboxSpec(lower=(), upper=upper, image=pinned))
        try:
            script = "echo $IMAGE_SAYS $PATH; echo made > here; cat here; python3 -c 0 || ls /usr/bin"
            result = await sandbox.run(Command(script=script, seconds=60))
        finally:
            await sandbox.close()
        lines = result.stdout.split(b"\n")
        assert lines[:2] == [b"hello /bin:/usr/bin:/opt/own", b"made"], result
        assert b"python3" not in result.stdout, "the host's programs are not there"
    finally:
        await backend.engine.call("rmi", "--force", name)


async def test_an_image_that_steers_the_runtime_is_refused(state: Path, folder: Path) -> None:
    backend = await containers(state)
    name = f"overnight-evil-{os.getpid()}:{folder.name.rpartition('-')[2].lower()}"
    try:
        await backend.engine.call(
            *("import", "--change", "LABEL=run.oci.seccomp_bpf_data=AAAA", "-", name),
            stdin=packed(["/bin/bash"]),
        )
        with pytest.raises(UsageError, match="how the runtime confines it"):
            await backend.pin(name)
    finally:
        await backend.engine.call("rmi", "--force", name)


async def test_a_missing_image_is_not_pulled(state: Path) -> None:
    backend = await containers(state)
    with pytest.raises(UsageError, match="pulls none by itself") as error:
        await resolve_image(backend.engine, "registry.invalid/never/there:1")
    assert "pull registry.invalid/never/there:1" in error.value.hint
    for odd in ("--all", "a b", "", "-x", "a" * 300):
        with pytest.raises(UsageError):
            await resolve_image(backend.engine, odd)
    assert await backend.pin("") == ""


ORPHAN = """
import asyncio, os, sys
from pathlib import Path
from overnight.sandbox.interface import Command, SandboxSpec
from tests.sandbox.containers import containers
async def main(state, upper):
    sandbox = (await containers(state)).open(SandboxSpec(lower=(), upper=upper))
    # The agent holds the worker's own pipe open, so that the container does not end by itself.
    script = "exec 7<>/overnight/control/requests; (setsid sleep 3600 7<&7 >/dev/null 2>&1 &); echo held"
    await sandbox.run(Command(script=script, seconds=60))
    print("running", flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


async def test_what_a_killed_worker_left_is_removed_at_the_next_start(state: Path, folder: Path) -> None:
    backend = await containers(state)
    upper = folder / "upper"
    upper.mkdir()
    if backend.owner is not None:
        os.chown(upper, *backend.owner)
    before = {path.name for path in (state / "containers").iterdir()}
    worker = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ORPHAN, str(state), str(upper)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert worker.stdout == "running\n", worker.stderr
    left = [path.name for path in (state / "containers").iterdir() if path.name not in before]
    assert len(left) == 1
    removed = await sweep(backend.engine, state)
    assert left[0] in removed
    assert not (state / "containers" / left[0]).exists()
    listed = await backend.engine.call("ps", "--all", "--format", "{{.Names}}")
    assert left[0] not in listed.split()
    await remove_container(backend.engine, left[0])  # once more is no error
