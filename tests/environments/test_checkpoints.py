"""Checkpoints: any tree of changes comes back as it was, contents are kept once, and only news are read."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.domain.errors import NotFoundError, PatchError
from overnight.environments import checkpoints, seen
from overnight.environments.overlay import OverlayWorkspace
from overnight.environments.snapshot import Snapshot

BASE: dict[str, bytes] = {
    "a": b"a\n",
    "d/x": b"x\n",
    "d/y": b"y\n",
    "d/e/z": b"z\n",
    "run": b"#!/bin/sh\n",
    ".gitignore": b"*.log\nbuild/\n",
}
NAMES = ("a", "d", "e", "x", "run", "new", "ü")

files = st.tuples(st.just("file"), st.binary(max_size=20), st.booleans())
links = st.tuples(st.just("link"), st.sampled_from([b"a", b"../..", b"/etc/passwd"]), st.just(False))
trees = st.recursive(
    files | links, lambda below: st.dictionaries(st.sampled_from(NAMES), below, max_size=3), max_leaves=12
)


class Ground:
    """A base of six files, and workspaces over it with one blob store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = root / "base"
        for path, content in BASE.items():
            target = self.base / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (self.base / "run").chmod(0o755)
        (self.base / "link").symlink_to("a")
        (root / "listing").write_text("".join(f"{path}\0" for path in sorted([*BASE, "link"])))
        self.blobs = BlobStore(root / "blobs")
        self.count = 0

    def workspace(self) -> OverlayWorkspace:
        """Return a fresh workspace; nothing is mounted: the upper layer is what the tests write."""
        self.count += 1
        place = self.root / f"workspace-{self.count}"
        (place / "upper").mkdir(parents=True)
        snapshot = Snapshot(
            key="key", commit="0" * 40, tree="0" * 40, recipe=Recipe(), checkout=(self.base,),
            dependencies=None, listing=self.root / "listing", objects=None,
        )  # fmt: skip
        return OverlayWorkspace(place, snapshot, self.blobs)

    def view(self, workspace: OverlayWorkspace) -> dict[str, tuple[str, bytes]]:
        """Return what the workspace shows: (kind, content) by path."""
        shown = {path: ("base", content) for path, content in BASE.items()} | {"link": ("base", b"a")}
        for change in workspace.export():
            if change.content is None:
                del shown[change.path]
            else:
                shown[change.path] = (f"{change.mode:o}", change.content)
        return shown


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def upper(workspace: OverlayWorkspace) -> Path:
    return workspace.spec().upper


def grow(folder: Path, tree: Mapping[str, Any]) -> None:
    """Write a drawn tree as an agent would, over whatever is there."""
    for name, below in tree.items():
        path = folder / name
        if path.is_symlink() or path.is_file() or path.is_char_device():
            path.unlink()
        if isinstance(below, dict):
            path.mkdir(exist_ok=True)
            grow(path, cast("dict[str, Any]", below))
            continue
        if path.is_dir():
            shutil.rmtree(path)
        kind, content, executable = below
        if kind == "link":
            path.symlink_to(os.fsdecode(content))
        else:
            path.write_bytes(content)
            path.chmod(0o755 if executable else 0o644)


def bury(folder: Path, name: str) -> None:
    """Hide a name of the base, as overlay does for a deletion."""
    path = folder / name
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    if not path.exists():
        os.mknod(path, 0o020000, os.makedev(0, 0))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    first=st.dictionaries(st.sampled_from(NAMES), trees, max_size=4),
    second=st.dictionaries(st.sampled_from(NAMES), trees, max_size=4),
    gone=st.sets(st.sampled_from(("a", "d", "run", ".gitignore", "link")), max_size=3),
)
def test_any_tree_comes_back(first: dict[str, Any], second: dict[str, Any], gone: set[str]) -> None:
    async def check(ground: Ground) -> None:
        workspace = ground.workspace()
        grow(upper(workspace), first)
        one, was = await workspace.checkpoint(), ground.view(workspace)
        for name in gone:
            bury(upper(workspace), name)
        grow(upper(workspace), second)
        two, then = await workspace.checkpoint(), ground.view(workspace)
        for digest, expected in ((one, was), (two, then), (one, was), ("", None)):
            await workspace.restore(digest)
            assert ground.view(workspace) == (expected or ground.view(ground.workspace()))
            assert await workspace.checkpoint() == digest
        fresh = ground.workspace()
        await fresh.restore(two)
        assert ground.view(fresh) == then
        assert await fresh.checkpoint() == two

    with tempfile.TemporaryDirectory(prefix="checkpoints-") as root:
        asyncio.run(check(Ground(Path(root))))


@pytest.mark.anyio
async def test_a_content_is_kept_once(ground: Ground) -> None:
    workspace = ground.workspace()
    content = os.urandom(100_000)
    for number in range(5):
        (upper(workspace) / f"copy-{number}").write_bytes(content)
    first = await workspace.checkpoint()
    before = ground.blobs.size()
    assert before < 110_000
    (upper(workspace) / "small").write_bytes(b"new")
    second = await workspace.checkpoint()
    assert ground.blobs.size() - before < 2_000, "the next one costs what is new"
    needed = checkpoints.objects(ground.blobs, first) | checkpoints.objects(ground.blobs, second)
    assert needed == set(ground.blobs.digests())
    assert ground.blobs.sweep(needed, grace=0) == 0
    assert ground.blobs.sweep(checkpoints.objects(ground.blobs, first), grace=0) == 2
    await workspace.restore(first)
    with pytest.raises(NotFoundError):
        await workspace.restore(second)


@pytest.mark.anyio
async def test_only_what_changed_is_read_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "RECENT_NS", 0)  # all files of this test are young
    workspace = ground.workspace()
    for number in range(20):
        (upper(workspace) / f"new-{number}").write_bytes(b"%d" % number)
    shutil.copytree(ground.base / "d", upper(workspace) / "d")
    first = await workspace.checkpoint()
    read: list[str] = []
    plain = OverlayWorkspace.read

    def noting(self: OverlayWorkspace, path: str) -> bytes | None:
        read.append(path)
        return plain(self, path)

    monkeypatch.setattr(OverlayWorkspace, "read", noting)
    assert await workspace.checkpoint() == first
    assert read == []
    (upper(workspace) / "new-3").write_bytes(b"x")
    os.utime(upper(workspace) / "new-3", ns=(0, 0))
    second = await workspace.checkpoint()
    assert read == ["new-3"], "whatever a program does to its times"
    assert second != first


@pytest.mark.anyio
async def test_young_files_are_read_each_time(ground: Ground) -> None:
    workspace = ground.workspace()
    path = upper(workspace) / "new"
    path.write_bytes(b"one")
    first = await workspace.checkpoint()
    with path.open("r+b") as file:
        file.write(b"two")
    assert await workspace.checkpoint() != first


@pytest.mark.anyio
async def test_ignored_files_are_kept_on_demand(ground: Ground) -> None:
    workspace = ground.workspace()
    grow(upper(workspace), {"a.log": ("file", b"1", False), "build": {"o": ("file", b"2", False)}})
    grow(upper(workspace), {"kept": ("file", b"3", False)})
    plain, whole = await workspace.checkpoint(), await workspace.checkpoint(ignored=True)
    for digest, expected in ((plain, {"kept"}), (whole, {"kept", "a.log", "build/o"})):
        await workspace.restore(digest)
        files = {
            str(path.relative_to(upper(workspace))) for path in upper(workspace).rglob("*") if path.is_file()
        }
        assert files == expected


@pytest.mark.anyio
@pytest.mark.parametrize("ignored", [False, True])
async def test_names_that_are_no_utf8_are_refused_by_name(ground: Ground, ignored: bool) -> None:
    workspace = ground.workspace()
    Path(os.fsdecode(os.fsencode(upper(workspace)) + b"/bad\xff")).write_bytes(b"x")
    with pytest.raises(PatchError, match="UTF-8"):
        await workspace.checkpoint(ignored)


@pytest.mark.anyio
async def test_what_is_no_checkpoint_is_refused(ground: Ground) -> None:
    workspace = ground.workspace()
    for content in (b"noise", b"\x92\x07\x90"):
        with pytest.raises(PatchError, match="Checkpoint"):
            await workspace.restore(ground.blobs.put(content))
