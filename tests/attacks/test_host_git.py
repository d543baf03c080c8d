"""Repositories whose config names programs: none of them may run when the host looks."""

import asyncio
from pathlib import Path

import pytest

from overnight.git.inspect import inspect_origin
from overnight.git.mirror import Mirror
from overnight.git.run import run_git
from tests.house import git, make_repository

PROGRAMS = (
    "core.fsmonitor", "core.sshCommand", "core.alternateRefsCommand", "core.pager", "core.editor",
    "core.askPass", "diff.external", "filter.x.clean", "filter.x.smudge", "diff.x.textconv", "gpg.program",
    "uploadpack.packObjectsHook", "credential.helper", "remote.evil.uploadpack",
)  # fmt: skip


@pytest.fixture
def trapped(tmp_path: Path) -> tuple[Path, Path]:
    """Return a repository full of traps, and the directory that would show which one was sprung."""
    sprung = tmp_path / "sprung"
    sprung.mkdir()
    repository = make_repository(
        tmp_path / "trapped", {"a.txt": "a\n", ".gitattributes": "* filter=x diff=x merge=x\n"}
    )
    (repository / "a.txt").write_text("changed\n")
    (repository / "new.txt").write_text("new\n")
    for name in PROGRAMS:
        git(repository, "config", name, f"touch {sprung}/{name}; cat")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {sprung}/{name}\n")
        (hooks / name).chmod(0o755)
    git(repository, "config", "core.hooksPath", str(hooks))
    return repository, sprung


async def _looked_at(repository: Path, root: Path) -> None:
    seen = await inspect_origin(str(repository))
    assert set(seen.dirty) == {"a.txt", "new.txt"}
    mirror = await Mirror.open(root / "mirrors", str(repository))
    await mirror.fetch()
    assert await mirror.resolve("main")


@pytest.mark.attack(1)
def test_looking_at_a_repository_runs_none_of_its_programs(
    trapped: tuple[Path, Path], tmp_path: Path
) -> None:
    repository, sprung = trapped
    asyncio.run(_looked_at(repository, tmp_path))
    assert list(sprung.iterdir()) == []


@pytest.mark.attack(1)
def test_a_missing_object_is_not_fetched_with_the_repositorys_program(
    trapped: tuple[Path, Path],
) -> None:
    # Git before 2.39.4 does not know GIT_NO_LAZY_FETCH: 0 makes ours behave like those.
    repository, sprung = trapped
    git(repository, "config", "core.repositoryformatversion", "1")
    git(repository, "config", "extensions.partialClone", "evil")
    git(repository, "config", "remote.evil.promisor", "true")
    git(repository, "config", "remote.evil.url", str(repository))
    missing = "deadbeef" * 5
    asyncio.run(
        run_git(
            "rev-parse", "-q", "--verify", f"{missing}^{{commit}}",
            git_dir=repository / ".git", accept=(0, 1, 128), variables={"GIT_NO_LAZY_FETCH": "0"},
        )
    )  # fmt: skip
    assert list(sprung.iterdir()) == []
