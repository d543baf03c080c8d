"""A repository whose devcontainer.json names an image: an attempt in its programs, from setup to verdict.

The image is made here from programs of this machine, without a network.
"""

import asyncio
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.container.backend import ContainerBackend
from tests.cli.conftest import Answer, patching
from tests.house import House, make_repository
from tests.sandbox.containers import containers, packed

pytestmark = pytest.mark.full

SUM = "echo $(($1 - $2))\n"
FIX = """*** Begin Patch
*** Update File: sum.sh
@@
-echo $(($1 - $2))
+echo $(($1 + $2))
*** End Patch"""
CHECK = (
    'test "$IMAGE_SAYS $(cat "$WHERE")" = "hello installed" && '
    '! command -v python3 && test "$(bash sum.sh 2 3)" = 5'
)
"""Green only in the image, after its setup, and once the sum is one."""


@pytest.fixture
def engine(place: Path, home: House) -> Iterator[ContainerBackend]:
    """The container backend, as the house's own commands find it; skips where none works."""
    if shutil.which("podman") is None and shutil.which("docker") is None:
        pytest.skip("container: neither podman nor docker is installed")
    try:
        yield asyncio.run(containers(place / "state", home.root))
    except SandboxUnavailableError as error:
        pytest.skip(f"container: {error.message}")


@pytest.fixture
def image(engine: ContainerBackend) -> Iterator[str]:
    """The name of a local image with little more than bash in it, and a variable of its own."""
    name = f"overnight-test-{uuid.uuid4().hex}:1"
    content = packed(["/bin/bash", "/bin/cat", "/bin/mkdir", "/bin/grep"])
    try:
        asyncio.run(
            engine.engine.call("import", "--change", "ENV=IMAGE_SAYS=hello", "-", name, stdin=content)
        )
        yield name
    finally:
        asyncio.run(engine.engine.call("rmi", "--force", name))


def test_an_attempt_works_in_the_image_of_a_devcontainer(
    answer: Answer, home: House, image: str, tmp_path: Path
) -> None:
    devcontainer = {
        "image": image,
        "postCreateCommand": 'echo installed > "$WHERE"',
        "containerEnv": {"WHERE": "/dependencies/set-up"},
    }
    files = {".devcontainer.json": json.dumps(devcontainer), "sum.sh": SUM}
    repository = make_repository(tmp_path / "imaged", files)
    shown = answer("env", "show", "--repo", str(repository), "--sandbox", "container")
    assert image in shown.stdout, shown.stderr
    ended = answer(
        "run", "Make it a sum", "--repo", str(repository), "--sandbox", "container", "--check", CHECK,
        "--model", patching(home, FIX, "summing"), "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    (attempt,) = ended.json["attempts"]
    (check,) = attempt["verdict"]["checks"]
    assert attempt["verdict"]["verified"]
    assert (check["before"], check["after"]) == ("red", "green"), check
    assert list(attempt["patch"]["files"]) == ["sum.sh"]


def test_an_image_that_is_not_here_ends_the_attempt_with_the_command_that_gets_it(
    answer: Answer, home: House, engine: ContainerBackend, tmp_path: Path
) -> None:
    del engine  # only to skip where there is none
    missing = f"registry.invalid/{uuid.uuid4().hex}:1"
    repository = make_repository(tmp_path / "missing", {".devcontainer.json": json.dumps({"image": missing})})
    ended = answer(
        "run", "Make it a sum", "--repo", str(repository), "--sandbox", "container",
        "--model", patching(home, FIX, "summing"), "--json",
    )  # fmt: skip
    assert ended.code != 0
    logs = answer("task", "logs", ended.json["task"]).stdout if ended.stdout else ended.stderr
    assert f"pull {missing}" in logs + ended.stderr, ended.stderr
