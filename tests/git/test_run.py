import asyncio
import os
from pathlib import Path

import pytest

from overnight.domain.errors import GitError
from overnight.git.mirror import Mirror
from overnight.git.run import clean, complaint, personal_environment, run_git, trusted_environment
from tests.git.git_repo import Repo

pytestmark = pytest.mark.anyio


async def test_a_failure_is_one_clean_line(repo: Repo) -> None:
    with pytest.raises(GitError) as caught:
        await run_git("rev-parse", "--verify", "no\x1b[31msuch", git_dir=repo.path / ".git")
    assert caught.value.message.startswith("git rev-parse failed: ")
    assert "\x1b" not in caught.value.message
    with pytest.raises(GitError, match="cannot start"):
        await run_git("version", directory=repo.path / "missing/deeper")


async def test_output_and_time_are_bounded(repo: Repo) -> None:
    repo.commit("big", {"big": "x" * 100_000})
    with pytest.raises(GitError, match="more than"):
        await run_git("cat-file", "blob", "HEAD:big", git_dir=repo.path / ".git", limit=1000)
    with pytest.raises(GitError, match="did not end within"):
        await run_git("-c", "alias.wait=!sleep 60", "wait", git_dir=repo.path / ".git", seconds=0.2)


async def test_cancellation_leaves_no_child(repo: Repo, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    alias = f"alias.wait=!echo $$ > {pid_file}.new && mv {pid_file}.new {pid_file} && exec sleep 600"
    task = asyncio.create_task(run_git("-c", alias, "wait", git_dir=repo.path / ".git"))
    async with asyncio.timeout(120):
        while not pid_file.exists():  # noqa: ASYNC110 - the file is another process's
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(120):
        while _alive(int(pid_file.read_text())):  # noqa: ASYNC110 - nobody tells us when it is gone
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_environments() -> None:
    user = {
        "HOME": "/h",
        "GIT_DIR": "/x",
        "GIT_INDEX_FILE": "/x",
        "GIT_SSH_COMMAND": "ssh -v",
        "SSH_AUTH_SOCK": "/s",
    }
    kept = personal_environment(user, {})
    assert {"GIT_DIR", "GIT_INDEX_FILE"}.isdisjoint(kept)
    assert (kept["HOME"], kept["SSH_AUTH_SOCK"], kept["GIT_SSH_COMMAND"]) == ("/h", "/s", "ssh -v")
    trusted = trusted_environment({})
    assert (trusted["GIT_CONFIG_GLOBAL"], trusted["GIT_CONFIG_NOSYSTEM"]) == (os.devnull, "1")
    assert "ext" not in trusted["GIT_ALLOW_PROTOCOL"]


def test_messages() -> None:
    assert complaint(b"remote: x\nfatal: it \x1b]0;title\x07broke\nhint: y\n") == "it ]0;titlebroke"
    assert complaint(b"") == "no message"
    assert clean("a\u202eb\x00c\nd") == "abc d"


async def test_credentials_reach_a_url_and_never_a_path(root: Path, repo: Repo, tmp_path: Path) -> None:
    used = tmp_path / "used"
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$SSH_AUTH_SOCK" >> {used}\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    user = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_SSH_COMMAND": str(ssh),
        "SSH_AUTH_SOCK": "agent",
    }
    url = f"ssh://host{repo.path}"
    mirror = await Mirror.open(root, url, user=user)
    await mirror.fetch()
    assert await mirror.resolve() == repo.head()
    assert "agent" in used.read_text()
    used.unlink()
    broken = tmp_path / "broken"
    broken.write_text("[not config")
    near = await Mirror.open(root, str(repo.path), user={**user, "GIT_CONFIG_GLOBAL": str(broken)})
    assert (await near.fetch()).changed
    assert not used.exists()
