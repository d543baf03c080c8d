"""The warm index: git inside answers at once, and always the truth."""

import re
from pathlib import Path

import pytest

from overnight.blobs.store import BlobStore
from overnight.domain.environment import Recipe
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.sandbox.interface import Command, SandboxBackend
from tests.environments.environment_parts import PLAIN, commit_all, mirrored
from tests.sink import Sink

pytestmark = pytest.mark.anyio

FILES: dict[str, str | bytes] = {
    **{f"d{n % 7}/e{n % 3}/f{n}.txt": f"{n}\n" for n in range(200)},
    ".gitignore": "*.log\n",
    "d1/.gitignore": "made\n",
}
STATUS = "git status --porcelain"
COLD = "git -c core.fsmonitor=false -c core.untrackedCache=false --no-optional-locks status --porcelain"
EDITS = (
    "echo more >> d1/e1/f1.txt",
    "rm -r d2",
    "rm -r d3 && mkdir d3 && echo new > d3/only",
    "mkdir -p d4/new/deep && echo n > d4/new/deep/er && touch a.log d1/made d1/other.log",
    "rm d5/e2/f5.txt && mkdir d5/e2/f5.txt && echo x > d5/e2/f5.txt/in",
    "mv d6/e0 moved && chmod +x d6/e1/*",
    "rm -r d4 && git checkout -q -- d4 d1",
    "echo '!a.log' >> .gitignore; rm d1/.gitignore",
    "git add -A && git commit -q -m all && echo after > d0/e0/f0.txt",
    "git reset -q --hard HEAD~1; git clean -fdq",
)


async def prepared(
    backend: SandboxBackend, repository: Path, tmp_path: Path, recipe: Recipe = PLAIN
) -> tuple[Snapshots, Snapshot]:
    commit = commit_all(repository, FILES)
    mirror = await mirrored(tmp_path, repository)
    snapshots = Snapshots(tmp_path / "snapshots", backend, warm_files=1)
    return snapshots, await snapshots.prepare(mirror, commit, recipe, Sink())


async def run(backend: SandboxBackend, tmp_path: Path, snapshot: Snapshot, *scripts: str) -> list[bytes]:
    """Run scripts one after the other over one workspace; return what each printed, stderr after stdout."""
    workspaces = Workspaces(tmp_path / "workspaces", backend, BlobStore(tmp_path / "blobs"))
    workspace = workspaces.create(snapshot, "one")
    printed: list[bytes] = []
    try:
        for script in scripts:
            sandbox = backend.open(workspace.spec())
            result = await sandbox.run(Command(script=script, seconds=120))
            await sandbox.close()
            assert result.exit_code == 0, (script, result.stderr)
            printed.append(result.stdout + result.stderr)
    finally:
        workspace.close()
    return printed


def looked_at(trace: bytes) -> int:
    """Return at how many files git looked, from its own trace."""
    return sum(int(count) for count in re.findall(rb"sum_lstat:(\d+)", trace))


async def test_git_looks_at_what_changed_only(
    backend: SandboxBackend, repository: Path, tmp_path: Path
) -> None:
    _, snapshot = await prepared(backend, repository, tmp_path)
    assert snapshot.warm is not None
    trace = f"GIT_TRACE2_PERF=1 {STATUS}"
    size = "stat -c %i.%Y .git/index"
    before, first, after, edited = await run(
        backend, tmp_path, snapshot, size, trace, size, f"echo x > d1/e1/f1.txt; {trace}"
    )
    assert looked_at(first) <= 1, first
    assert b"opendir:0" in first, first
    assert b" M d1/e1/f1.txt" in edited
    assert looked_at(edited) <= 4, edited
    assert before == after, "the index went into the workspace"


async def test_it_tells_the_truth_after_every_edit(
    backend: SandboxBackend, repository: Path, tmp_path: Path
) -> None:
    _, snapshot = await prepared(backend, repository, tmp_path)
    scripts = [f"{edit} && {STATUS} && echo == && {COLD}" for edit in EDITS]
    for edit, seen in zip(EDITS, await run(backend, tmp_path, snapshot, *scripts), strict=True):
        warm, cold = seen.split(b"==\n")
        assert warm == cold, edit


async def test_it_is_derived_with_the_commit(
    backend: SandboxBackend, repository: Path, tmp_path: Path
) -> None:
    snapshots, _ = await prepared(backend, repository, tmp_path)
    (repository / "d1/e1/f1.txt").unlink()
    commit = commit_all(repository, {"d0/e0/f0.txt": "other\n", "fresh/file": "f\n"})
    mirror = await mirrored(tmp_path, repository)
    snapshot = await snapshots.prepare(mirror, commit, PLAIN, Sink())
    assert len(snapshot.checkout) == 2
    first, edited = await run(
        backend,
        tmp_path,
        snapshot,
        f"GIT_TRACE2_PERF=1 {STATUS}",
        f"echo > fresh/file; rm d1/e1/*; {STATUS}; {COLD}",
    )
    assert looked_at(first) <= 1, first
    assert b" M " not in first
    lines = edited.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


async def test_untracked_files_of_setup_are_told(
    backend: SandboxBackend, repository: Path, tmp_path: Path
) -> None:
    recipe = Recipe(
        setup=("mkdir -p d1/new; echo made > d1/new/file; echo made > top",), setup_network="none"
    )
    _, snapshot = await prepared(backend, repository, tmp_path, recipe)
    warm, cold = await run(backend, tmp_path, snapshot, STATUS, COLD)
    assert warm == cold
    assert b"?? d1/new/" in warm
