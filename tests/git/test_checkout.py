import os
import shutil
import time
from pathlib import Path

import pytest

from overnight.domain.errors import GitError
from overnight.git.checkout import SANDBOX_OBJECTS, materialize
from overnight.git.mirror import Mirror
from tests.git.git_repo import Repo, bare_git

pytestmark = pytest.mark.anyio


async def mirrored(root: Path, repo: Repo) -> Mirror:
    mirror = await Mirror.open(root, str(repo.path))
    await mirror.fetch()
    return mirror


def as_in_sandbox(mirror: Mirror, folder: Path) -> Repo:
    """The tests are no sandbox: point the borrowed objects at the mirror itself."""
    alternates = folder / ".git/objects/info/alternates"
    assert alternates.read_text() == f"{SANDBOX_OBJECTS}\n"
    alternates.write_text(f"{mirror.path / 'objects'}\n")
    return Repo(folder)


async def test_a_checkout_is_whole_clean_and_settled(root: Path, repo: Repo, tmp_path: Path) -> None:
    repo.write("run.sh", "#!/bin/sh\n")
    (repo.path / "run.sh").chmod(0o755)
    (repo.path / "link").symlink_to("a.txt")
    (repo.path / "away").symlink_to("/etc/passwd")
    repo.commit("kinds")
    repo.git("tag", "-a", "v1.0", "-m", "one")
    commit = repo.head()
    repo.commit("the answer", {"answer": "42"})
    repo.git("tag", "v2.0")
    mirror = await mirrored(root, repo)
    await materialize(mirror, commit, tmp_path / "w")
    work = as_in_sandbox(mirror, tmp_path / "w")
    assert (work.path / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (work.path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert (work.path / "link").readlink() == Path("a.txt")
    assert (work.path / "away").readlink() == Path("/etc/passwd")
    assert work.head() == commit
    assert work.git("describe") == "v1.0"
    assert work.git("tag") == "v1.0"  # a tag of the future would show where the answer is
    index = (work.path / ".git/index").stat()
    assert work.git("status", "--porcelain") == ""
    assert (work.path / ".git/index").stat().st_mtime_ns == index.st_mtime_ns, (
        "status had to rewrite the index"
    )
    assert not (work.path / ".git/hooks").exists()
    assert max(p.lstat().st_mtime for p in work.path.iterdir() if p.is_file()) < time.time() - 9


async def test_an_edit_at_once_is_seen(root: Path, repo: Repo, tmp_path: Path) -> None:
    mirror = await mirrored(root, repo)
    await materialize(mirror, repo.head(), tmp_path / "w")
    work = as_in_sandbox(mirror, tmp_path / "w")
    work.write("a.txt", "two\n")  # the same size, within the same second
    assert work.git("status", "--porcelain") == "M a.txt"
    work.git("commit", "-q", "-am", "in the sandbox")
    work.git("fsck", "--strict")


async def test_on_a_branch(root: Path, repo: Repo, tmp_path: Path) -> None:
    mirror = await mirrored(root, repo)
    await materialize(mirror, repo.head(), tmp_path / "w", branch="overnight/x-1")
    work = as_in_sandbox(mirror, tmp_path / "w")
    assert work.git("branch", "--show-current") == "overnight/x-1"
    assert work.git("status", "--porcelain") == ""


async def test_no_filter_hook_or_submodule_runs(root: Path, repo: Repo, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345678\n"
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n*.crlf text eol=crlf\n")
    repo.write("big.bin", pointer)
    repo.write("w.crlf", "line\r\n")
    repo.write(
        ".gitmodules",
        '[submodule "s"]\n\tpath = s\n\turl = ext::sh -c "touch canary"\n\tupdate = !touch canary\n',
    )
    repo.git("add", "-A")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head()},s")
    repo.git("commit", "-q", "-m", "traps")
    (repo.path / ".git/hooks").mkdir(exist_ok=True)
    for hook in ("post-checkout", "post-index-change"):
        (repo.path / ".git/hooks" / hook).write_text(f"#!/bin/sh\ntouch {canary}\n")
        (repo.path / ".git/hooks" / hook).chmod(0o755)
    repo.git("config", "uploadpack.packObjectsHook", f"touch {canary}")
    # A submodule URL of this kind does not pass the check of incoming objects; an honest one does.
    mirror = await Mirror.open(root, str(repo.path))
    with pytest.raises(GitError):
        await mirror.fetch()
    repo.write(".gitmodules", '[submodule "s"]\n\tpath = s\n\turl = https://example.org/s\n')
    repo.git("add", ".gitmodules")
    repo.git(
        "commit",
        "-q",
        "--amend",
        "-m",
        "honest",
        env={
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "core.hooksPath",
            "GIT_CONFIG_VALUE_0": "/dev/null",
        },
    )
    canary.unlink(missing_ok=True)
    await mirror.fetch()
    await materialize(mirror, repo.head(), tmp_path / "w")
    assert (tmp_path / "w/big.bin").read_text() == pointer
    assert (tmp_path / "w/w.crlf").read_bytes() == b"line\r\n"
    assert list((tmp_path / "w/s").iterdir()) == []
    work = as_in_sandbox(mirror, tmp_path / "w")
    assert work.git("status", "--porcelain") == ""
    assert not canary.exists()


async def test_a_path_through_a_link_stays_inside(root: Path, repo: Repo, tmp_path: Path) -> None:
    """Two entries of one name, a link and a folder: the classic way out of a checkout."""
    outside = tmp_path / "outside"
    outside.mkdir()
    blob = repo.git("hash-object", "-w", "--stdin", stdin=str(outside))
    sub = repo.git("mktree", stdin=f"100644 blob {repo.head('HEAD:a.txt')}\tpwned\n")
    tree = repo.git("mktree", stdin=f"120000 blob {blob}\tX\n040000 tree {sub}\tx\n")
    commit = repo.git("commit-tree", tree, "-m", "x")
    repo.git("update-ref", "refs/heads/evil", commit)
    mirror = await mirrored(root, repo)
    await materialize(mirror, commit, tmp_path / "w")
    assert list(outside.iterdir()) == []


async def test_shallow_history_is_marked(root: Path, repo: Repo, tmp_path: Path) -> None:
    repo.commit("second", {"c": "c"})
    bare_git("clone", "-q", "--depth", "1", f"file://{repo.path}", str(tmp_path / "shallow"))
    mirror = await mirrored(root, Repo(tmp_path / "shallow"))
    await materialize(mirror, repo.head(), tmp_path / "w")
    assert as_in_sandbox(mirror, tmp_path / "w").git("rev-list", "--count", "HEAD") == "1"


async def test_refusals(root: Path, repo: Repo, tmp_path: Path) -> None:
    mirror = await mirrored(root, repo)
    with pytest.raises(GitError):
        await materialize(mirror, "0" * 40, tmp_path / "w")
    with pytest.raises(GitError, match="not empty"):
        await materialize(mirror, repo.head(), repo.path)


async def test_a_thousand_files(root: Path, tmp_path: Path) -> None:
    repo = Repo.make(tmp_path / "big", {f"d{i % 20}/f{i}.txt": f"{i}\n" for i in range(1000)})
    mirror = await mirrored(root, repo)
    await materialize(mirror, repo.head(), tmp_path / "w")
    work = as_in_sandbox(mirror, tmp_path / "w")
    assert work.git("status", "--porcelain") == ""
    shutil.copytree(work.path, tmp_path / "copy", symlinks=True)
    os.utime(tmp_path / "copy/.git/index", (1, 1))  # whatever the index's own time, contents decide
    assert Repo(tmp_path / "copy").git("status", "--porcelain") == ""
