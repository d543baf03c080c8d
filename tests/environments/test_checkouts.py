"""Derived checkouts: the same files, modes and index as a fresh one, at the cost of what changed."""

import hashlib
import os
import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from overnight.blobs.store import BlobStore
from overnight.environments import checkouts
from overnight.environments.layers import Merged
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.sandbox.interface import Command, SandboxBackend
from tests.environments.environment_parts import PLAIN, commit_all, git, mirrored
from tests.sink import Sink

pytestmark = pytest.mark.anyio

FILES: dict[str, str | bytes] = {
    "README.md": "hello\n",
    "src/a.py": "a = 1\n",
    "src/b.py": "b = 2\n",
    "deep/er/and/deeper/c": "c\n",
    "was/a/folder/x": "x\n",
    "was-a-file": "f\n",
    "gone/only": "o\n",
    "ünï/cödé": "u\n",
}
LOOK = (
    "find . -path ./.git -prune -o -printf '%p %y %m %l\\n' | sort;"
    " find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum;"
    " git log --oneline; git tag; git describe --always; git ls-files -s; git status --porcelain=v2 -uall"
)


async def look(backend: SandboxBackend, snapshot: Snapshot, root: Path, script: str = LOOK) -> bytes:
    """Return what a command sees in a fresh workspace."""
    name = hashlib.sha256(f"{snapshot.keys}{script}".encode()).hexdigest()[:12]
    workspace = Workspaces(root / "workspaces", backend, BlobStore(root / "blobs")).create(snapshot, name)
    sandbox = backend.open(workspace.spec())
    try:
        result = await sandbox.run(Command(script=script, seconds=120))
    finally:
        await sandbox.close()
        workspace.close()
    assert result.exit_code == 0, result.stderr
    return result.stdout


def change(repository: Path) -> None:
    """Make every kind of change in a repository's checkout."""
    (repository / "README.md").write_text("other\n")
    (repository / "src/a.py").chmod(0o755)
    git(repository, "rm", "-q", "-r", "was", "was-a-file", "gone", "deep")
    (repository / "was").write_text("a file now\n")
    (repository / "was-a-file").mkdir()
    (repository / "was-a-file/inside").write_text("i\n")
    (repository / "deep").mkdir()
    (repository / "deep/new").write_text("n\n")
    (repository / "src/b.py").unlink()
    (repository / "src/b.py").symlink_to("a.py")
    (repository / "empty").write_text("")
    (repository / "ünï/cödé").write_text("v\n")


async def test_a_derived_snapshot_equals_a_fresh_one(
    snapshots: Snapshots, backend: SandboxBackend, repository: Path, tmp_path: Path, sink: Sink
) -> None:
    first = commit_all(repository, FILES)
    git(repository, "tag", "v1")
    change(repository)
    second = commit_all(repository, {})
    mirror = await mirrored(tmp_path, repository)
    old = await snapshots.prepare(mirror, first, PLAIN, sink)
    derived = await snapshots.prepare(mirror, second, PLAIN, sink)
    assert derived.layers == (derived.checkout[0], *old.checkout)
    fresh = await Snapshots(tmp_path / "fresh", backend).prepare(mirror, second, PLAIN, sink)
    assert len(fresh.checkout) == 1
    assert derived.paths() == fresh.paths()
    assert derived.tree == fresh.tree == git(repository, "rev-parse", "HEAD^{tree}")
    seen = await look(backend, derived, tmp_path)
    assert seen == await look(backend, fresh, tmp_path)
    assert b"was-a-file/inside" in seen
    assert len(list(derived.checkout[0].rglob("*"))) < 30, "only what changed is written"
    assert await look(backend, old, tmp_path) != seen


async def test_a_chain_of_random_commits(
    backend: SandboxBackend, repository: Path, tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkouts, "MAX_DELTAS", 3)
    choose = random.Random(7)
    commits = [commit_all(repository, FILES)]
    for number in range(5):
        for path in choose.sample(sorted(p for p in repository.rglob("*") if ".git" not in p.parts), 3):
            if path.is_file():
                path.unlink()
        commits.append(
            commit_all(repository, {f"d{choose.randrange(3)}/f{choose.randrange(4)}": f"{number}\n"})
        )
    mirror = await mirrored(tmp_path, repository)
    snapshots = Snapshots(tmp_path / "snapshots", backend)
    depths: list[int] = []
    for commit in commits:
        snapshot = await snapshots.prepare(mirror, commit, PLAIN, sink)
        depths.append(len(snapshot.checkout))
        fresh = await Snapshots(tmp_path / f"fresh-{commit}", backend).prepare(mirror, commit, PLAIN, sink)
        assert await look(backend, snapshot, tmp_path) == await look(backend, fresh, tmp_path)
    assert depths[0] == 1
    assert all(1 < depth <= 4 for depth in depths[1:4])
    assert max(depths) <= 4


async def test_the_index_of_a_derived_checkout_needs_no_mending(
    snapshots: Snapshots, backend: SandboxBackend, repository: Path, tmp_path: Path, sink: Sink
) -> None:
    first = commit_all(repository, FILES)
    change(repository)
    mirror = await mirrored(tmp_path, repository)
    await snapshots.prepare(mirror, first, PLAIN, sink)
    second = commit_all(repository, {})
    await mirror.fetch()
    snapshot = await snapshots.prepare(mirror, second, PLAIN, sink)
    state = "stat -c %i.%Y .git/index"
    seen = await look(
        backend, snapshot, tmp_path, f"{state}; git status --porcelain; {state}; git diff-files"
    )
    before, after = seen.splitlines()
    assert before == after, "git status had to rewrite the index"


async def test_a_commit_with_the_same_tree_costs_nothing(
    snapshots: Snapshots, backend: SandboxBackend, repository: Path, tmp_path: Path, sink: Sink
) -> None:
    first = commit_all(repository, FILES)
    second = commit_all(repository, {})
    mirror = await mirrored(tmp_path, repository)
    await snapshots.prepare(mirror, first, PLAIN, sink)
    snapshot = await snapshots.prepare(mirror, second, PLAIN, sink)
    files = [path for path in snapshot.checkout[0].rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"HEAD", "packed-refs"}
    assert (
        await look(backend, snapshot, tmp_path, "git rev-parse HEAD; git status --porcelain")
    ).split() == [second.encode()]


async def test_changes_over_a_derived_snapshot_are_found(
    snapshots: Snapshots, backend: SandboxBackend, repository: Path, tmp_path: Path, sink: Sink
) -> None:
    first = commit_all(repository, FILES)
    change(repository)
    second = commit_all(repository, {})
    mirror = await mirrored(tmp_path, repository)
    await snapshots.prepare(mirror, first, PLAIN, sink)
    snapshot = await snapshots.prepare(mirror, second, PLAIN, sink)
    workspaces = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs"))
    workspace = workspaces.create(snapshot, "changed")
    assert workspace.read("gone/only") is None
    assert workspace.read("README.md") == b"other\n"
    sandbox = backend.open(workspace.spec())
    script = (
        "rm -r was-a-file deep; mkdir deep; echo 1 > deep/er; echo 2 > gone; rm was; mkdir was; touch was/x"
    )
    assert (await sandbox.run(Command(script=script))).exit_code == 0
    await sandbox.close()
    assert {change.path: change.change for change in workspace.changes()} == {
        "deep/er": "added",
        "deep/new": "deleted",
        "gone": "added",
        "was": "deleted",
        "was/x": "added",
        "was-a-file/inside": "deleted",
    }
    with_folder = workspaces.create(snapshot, "again")
    with_folder.apply(workspace.export())
    assert with_folder.export() == workspace.export()


def test_merged_layers(tmp_path: Path) -> None:
    for name in ("top/d", "bottom/d/e", "bottom/f"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "top/f").write_text("hides")
    os.mknod(tmp_path / "top/d/e", 0o020000, os.makedev(0, 0))
    (tmp_path / "bottom/d/kept").touch()
    with ExitStack() as stack:
        merged = Merged.open((tmp_path / "top", tmp_path / "bottom"), stack)
        assert merged is not None
        assert merged.names() == ["d", "f"]
        below = merged.below("d", stack)
        assert below is not None
        assert below.names() == ["kept"]
        assert below.state("e") is None
        assert merged.below("f", stack) is None
