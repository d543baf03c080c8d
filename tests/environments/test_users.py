"""Layers, checkpoints and forks among sandboxes of different users: on disk nothing changes its owner."""

import os
import sys
from pathlib import Path

import pytest

from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.sandbox.interface import Command
from overnight.sandbox.native.backend import NamespacesBackend
from overnight.sandbox.native.sandbox import NamespacesSandbox
from overnight.sandbox.processes import OWNER
from overnight.sandbox.tools import HostTools
from tests.environments.environment_parts import Sink, commit_all, mirrored

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="started by an ordinary user, sandboxes are that user"),
]

SETUP = "umask 077; mkdir -p made /dependencies/deep; echo made > made/own; echo lib > /dependencies/deep/own"
PRIVATE = "cat a/kept.py made/own /dependencies/deep/own"
WORK = (
    "umask 077; mkdir new; echo new > new/own; echo more >> a/kept.py; chmod 600 a/kept.py; rm a/gone.py; "
    "git mv a/moved.py b.py; echo tmp > /tmp/own; echo home > ~/own"
)


@pytest.fixture
def backend(tmp_path: Path) -> NamespacesBackend:
    """Return the backend that gives each sandbox a user."""
    tools = HostTools(os.environ["PATH"], Path.home(), Path(sys.base_prefix))
    return NamespacesBackend(tools, tmp_path / "sandbox", runtime=tmp_path / "runtime")


async def _run(sandbox: NamespacesSandbox, script: str) -> str:
    result = await sandbox.run(Command(script=script))
    assert result.exit_code == 0, result
    return result.stdout.decode()


def _owners(*roots: Path) -> set[int]:
    """Return who owns files there, without the marks of what is deleted, which are the kernel's."""
    found: set[int] = set()
    for root in roots:
        for path in (root, *root.rglob("*")):
            if not path.is_char_device():
                found.add(path.lstat().st_uid)
    return found


async def test_a_fork_goes_on_as_another_user(
    tmp_path: Path, repository: Path, backend: NamespacesBackend, sink: Sink
) -> None:
    files: dict[str, str | bytes] = {"a/kept.py": "kept\n", "a/gone.py": "gone\n", "a/moved.py": "moved\n"}
    commit = commit_all(repository, {**files, ".gitignore": "made/\n"})
    mirror = await mirrored(tmp_path, repository)
    recipe = Recipe(checks=("true",), setup=(SETUP,), setup_network="none")
    snapshot = await Snapshots(tmp_path / "snapshots", backend).prepare(mirror, commit, recipe, sink)
    workspaces = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs"))
    one, two = workspaces.create(snapshot, "one"), workspaces.create(snapshot, "two")
    first, second = backend.open(one.spec()), backend.open(two.spec())
    try:
        assert await _run(first, PRIVATE) == "kept\nmade\nlib\n"
        assert await _run(first, "git status --porcelain") == ""
        await _run(first, WORK)
        async with first.frozen():
            digest = await one.checkpoint()
        await two.restore(digest)
        assert await _run(second, f"{PRIVATE} new/own b.py; ls a") == (
            "kept\nmore\nmade\nlib\nnew\nmoved\nkept.py\n"
        )
        await _run(second, "echo second >> a/kept.py; echo second >> new/own; rm b.py")
        assert await _run(first, "cat a/kept.py") == "kept\nmore\n"
        assert first.user != second.user
        assert OWNER not in (first.user, second.user)
        assert two.read("a/kept.py") == b"kept\nmore\nsecond\n"
        assert {change.path for change in two.changes()} == {
            "a/kept.py", "a/gone.py", "a/moved.py", "new/own",
        }  # fmt: skip
        uppers = (one.spec().upper, two.spec().upper)
        assert _owners(*uppers, *snapshot.layers, *(root.parent / "scratch/tmp" for root in uppers)) == {
            OWNER[0]
        }
    finally:
        await first.close()
        await second.close()
        one.close()
        two.close()
