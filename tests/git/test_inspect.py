import os
import time
from pathlib import Path

import pytest

from overnight.domain.errors import RepositoryError, UsageError
from overnight.git.inspect import inspect_commit, inspect_origin
from overnight.git.mirror import Mirror
from tests.git.git_repo import Repo, bare_git

pytestmark = pytest.mark.anyio
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345678\n"


async def test_a_clean_checkout_needs_no_note(repo: Repo) -> None:
    seen = await inspect_origin(str(repo.path))
    assert (seen.branch, seen.dirty, seen.notes()) == ("main", (), ())


async def test_uncommitted_work_is_named_and_nothing_is_written(repo: Repo) -> None:
    repo.commit("more", {"touched": "same\n", "gone": "g", "mode": "m", "staged": "s", "same-size": "aaa"})
    repo.write(".gitignore", "ignored\n")
    repo.write("ignored", "i")
    repo.write("a.txt", "edited\n")
    os.utime(repo.path / "touched", (1, 1))
    (repo.path / "gone").unlink()
    (repo.path / "mode").chmod(0o755)
    repo.write("staged", "new")
    repo.git("add", "staged")
    repo.write("same-size", "bbb")
    repo.write("new folder/x", "x")
    before = repo.fingerprint()
    seen = await inspect_origin(str(repo.path / "src"))
    assert seen.changed == ("a.txt", "gone", "mode", "same-size", "staged")
    assert seen.untracked == (".gitignore", "new folder/")
    assert "a.txt" in seen.notes()[0]
    assert repo.fingerprint() == before


async def test_looking_runs_no_program_of_the_repository(repo: Repo, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\necho $0 $* >> {canary}\nexec cat\n")
    script.chmod(0o755)
    repo.commit("attributes", {".gitattributes": "* filter=evil diff=evil\n", "young": "aaa"})
    inner = Repo.make(repo.path / "nested", {"n": "n"})
    hooks = repo.path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").write_text(script.read_text())
    (hooks / "post-index-change").chmod(0o755)
    for place in (inner, repo):
        for name in (
            "core.fsmonitor",
            "filter.evil.clean",
            "filter.evil.process",
            "diff.evil.textconv",
            "diff.external",
        ):
            place.git("config", name, str(script))
    # As young as the index: git's own comparison would read these through the clean filter.
    repo.write("young", "bbb")
    now = time.time()
    for path in ("young", "a.txt", ".git/index"):
        os.utime(repo.path / path, (now, now))
    repo.write("src/b.py", "changed")
    seen = await inspect_origin(str(repo.path))
    assert not canary.exists(), canary.read_text()
    assert seen.changed == ("src/b.py", "young")
    assert seen.untracked == ("nested/",)
    repo.git("status", env={"GIT_OPTIONAL_LOCKS": "0"})
    assert canary.exists(), "the trap must be real"


async def test_kinds_of_repositories(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such path"):
        await inspect_origin(str(tmp_path / "missing"))
    (tmp_path / "plain").mkdir()
    with pytest.raises(RepositoryError, match="no git repository"):
        await inspect_origin(str(tmp_path / "plain"))
    empty = Repo.make(tmp_path / "empty")
    empty.write("x", "x")
    seen = await inspect_origin(str(empty.path))
    assert (seen.empty, seen.branch, seen.untracked) == (True, "main", ("x",))
    empty.git("add", "x")
    assert (await inspect_origin(str(empty.path))).changed == ("x",)
    bare_git("clone", "-q", "--bare", str(repo.path), str(tmp_path / "bare"))
    bare = await inspect_origin(str(tmp_path / "bare"))
    assert (bare.origin.kind, bare.dirty, bare.empty) == ("bare", (), False)
    repo.commit("second")
    bare_git("clone", "-q", "--depth", "1", f"file://{repo.path}", str(tmp_path / "shallow"))
    assert "shallow" in (await inspect_origin(str(tmp_path / "shallow"))).notes()[0]
    repo.git("checkout", "-q", "--detach")
    detached = await inspect_origin(str(repo.path))
    assert detached.detached
    assert "detached" in detached.notes()[0]
    (repo.path / ".git/config").write_text("[core\nbroken")
    with pytest.raises(RepositoryError, match="cannot read"):
        await inspect_origin(str(repo.path))
    assert (await inspect_origin("https://example.org/x.git")).notes() == ()


async def test_a_linked_worktree_and_a_sparse_checkout(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    (tmp_path / "linked/a.txt").write_text("edited")
    seen = await inspect_origin(str(tmp_path / "linked"))
    assert (seen.branch, seen.changed) == ("side", ("a.txt",))
    repo.git("sparse-checkout", "set", "--cone", "nothing")
    assert (await inspect_origin(str(repo.path))).changed == ()


async def test_submodules_and_lfs_show_in_the_tree(root: Path, repo: Repo) -> None:
    repo.write("data/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("data/big.bin", POINTER)
    repo.write("data/small.txt", "x" * 200)
    repo.git("add", "-A")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head()},vendor/lib")
    repo.git("commit", "-q", "-m", "both")
    mirror = await Mirror.open(root, str(repo.path))
    await mirror.fetch()
    seen = await inspect_commit(mirror, await mirror.resolve())
    assert seen.submodules == ("vendor/lib",)
    assert seen.lfs == ("data/big.bin",)
    assert any("pointers" in note for note in seen.notes())
    assert any("vendor/lib" in note for note in seen.notes())
    assert (await inspect_commit(mirror, await mirror.resolve("main~1"))).notes() == ()
