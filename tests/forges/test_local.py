import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.patch import FileChange
from overnight.domain.task import PullRequest
from overnight.forges.interface import Forge
from overnight.forges.local import LocalForge
from overnight.git.commit import commit_changes
from overnight.git.mirror import Mirror

pytestmark = pytest.mark.anyio


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Grace\n\temail = grace@example.org\n")
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(config)}


def git(folder: Path, user: dict[str, str], *args: str) -> str:
    command = ["git", "-C", str(folder), *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=user).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path, user: dict[str, str]) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, user, "init", "-q", "-b", "main")
    (folder / "a.txt").write_text("one\n")
    git(folder, user, "add", "-A")
    git(folder, user, "commit", "-q", "-m", "start")
    return folder


@pytest.fixture
async def mirror(tmp_path: Path, origin: Path) -> Mirror:
    made = await Mirror.open(tmp_path / "mirrors", str(origin))
    await made.fetch()
    return made


async def draft(mirror: Mirror) -> PullRequest:
    base = await mirror.resolve()
    change = FileChange(path="a.txt", mode=0o100644, content=b"two\n")
    head = await commit_changes(mirror, base, [change], "work", "overnight/work-1", at=1e9)
    return PullRequest(
        number=7, task_id="t", attempt_id="a", repository_id="r", forge="", branch="overnight/work-1", base_ref="main",  # noqa: E501
        base_commit=base, head_commit=head, title="Work", body="", state="", created_at=0.0,
    )  # fmt: skip


async def test_open_view_merge(mirror: Mirror, origin: Path, user: dict[str, str]) -> None:
    forge: Forge = LocalForge(mirror, user)
    pull = await forge.open(await draft(mirror))
    assert (pull.forge, pull.state, pull.number) == ("local", "open", 7)
    assert await forge.view(pull) == pull
    merged = await forge.merge(pull, at=2e9)
    assert (merged.state, merged.merged_commit) == ("merged", pull.head_commit)
    assert (origin / "a.txt").read_text() == "two\n"
    assert await forge.merge(merged, at=3e9) == merged
    assert await forge.view(pull) == merged


async def test_merge_commit_names_the_pull_request(
    mirror: Mirror, origin: Path, user: dict[str, str]
) -> None:
    forge = LocalForge(mirror, user)
    pull = await forge.open(await draft(mirror))
    git(origin, user, "commit", "-q", "--allow-empty", "-m", "mine")
    merged = await forge.merge(pull, at=2e9)
    assert (
        git(origin, user, "log", "-1", "--format=%an %s %H")
        == f"Grace Merge pull request 7: Work {merged.merged_commit}"
    )


async def test_refusals(mirror: Mirror, origin: Path, user: dict[str, str], tmp_path: Path) -> None:
    forge = LocalForge(mirror, user)
    pull = await draft(mirror)
    with pytest.raises(UsageError):
        await forge.open(msgspec.structs.replace(pull, branch="overnight/none"))
    with pytest.raises(ConflictError, match="moved"):
        await forge.open(msgspec.structs.replace(pull, head_commit=pull.base_commit))
    opened = await forge.open(pull)
    with pytest.raises(UsageError, match="closed"):
        await forge.merge(msgspec.structs.replace(opened, state="closed"), at=2e9)
    (origin / "a.txt").write_text("mine\n")
    with pytest.raises(ConflictError, match=r"a\.txt"):
        await forge.merge(opened, at=2e9)
    assert (origin / "a.txt").read_text() == "mine\n"
    far = await Mirror.open(tmp_path / "mirrors", "https://example.org/x.git")
    with pytest.raises(UsageError, match="not on this machine"):
        await LocalForge(far, user).merge(opened, at=2e9)
