import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from overnight.domain.errors import GitError, RepositoryError, UsageError
from overnight.domain.patch import FileChange
from overnight.git.commit import commit_changes
from overnight.git.mirror import Mirror
from overnight.git.objects import list_tree, read_file
from overnight.git.origin import locate
from tests.git.git_repo import Repo, bare_git

pytestmark = pytest.mark.anyio


async def fetched(root: Path, repo: Repo) -> Mirror:
    mirror = await Mirror.open(root, str(repo.path))
    await mirror.fetch()
    return mirror


async def test_fetches_branches_and_tags_and_writes_nothing_to_the_origin(root: Path, repo: Repo) -> None:
    repo.git("tag", "-a", "v1", "-m", "first")
    repo.git("branch", "feature/x")
    before = repo.fingerprint()
    mirror = await fetched(root, repo)
    assert mirror.default_ref() == "main"
    for name in (None, "main", "feature/x", "v1", "HEAD", repo.head(), repo.head()[:8], "refs/heads/main"):
        assert await mirror.resolve(name) == repo.head()
    assert await mirror.names() == ["feature/x", "main", "v1"]
    assert repo.fingerprint() == before


async def test_objects_are_copies(root: Path, repo: Repo) -> None:
    mirror = await fetched(root, repo)
    commit = await mirror.resolve()
    assert not (mirror.path / "objects/info/alternates").exists()
    assert all(p.stat().st_nlink == 1 for p in mirror.path.rglob("*") if p.is_file())
    shutil.rmtree(repo.path)
    assert await read_file(mirror, commit, "a.txt") == b"one\n"


async def test_fetch_is_incremental_and_says_whether_anything_changed(root: Path, repo: Repo) -> None:
    mirror = await fetched(root, repo)
    assert not (await mirror.fetch()).changed
    new = repo.commit("more", {"c.txt": "c"})
    lines: list[str] = []
    assert (await mirror.fetch(lines.append)).changed
    assert lines
    assert await mirror.resolve() == new
    assert await mirror.resolve("main~1") == await mirror.resolve("main^") == repo.head("HEAD~1")


async def test_pruning_never_loses_our_branches(root: Path, repo: Repo) -> None:
    repo.git("checkout", "-q", "-b", "short-lived")
    base = repo.commit("gone soon", {"gone.txt": "g"})
    repo.git("checkout", "-q", "main")
    mirror = await fetched(root, repo)
    change = FileChange(path="new.txt", mode=0o100644, content=b"new\n")
    ours = await commit_changes(mirror, base, [change], "work", "overnight/work-1", at=1e9)
    repo.git("branch", "-D", "short-lived")
    repo.git("branch", "overnight/work-1")  # the same name upstream must not collide with ours
    await mirror.fetch()
    assert "short-lived" not in await mirror.names()
    bare_git("-C", str(mirror.path), "gc", "-q", "--prune=now")
    assert await mirror.branch_commit("overnight/work-1") == ours
    assert await read_file(mirror, ours, "new.txt") == b"new\n"
    assert await read_file(mirror, ours, "gone.txt") == b"g"


async def test_a_branch_that_becomes_a_folder_of_branches(root: Path, repo: Repo) -> None:
    repo.git("branch", "topic")
    mirror = await fetched(root, repo)
    repo.git("branch", "-D", "topic")
    repo.git("branch", "topic/one")
    await mirror.fetch()
    assert await mirror.names() == ["main", "topic/one"]


async def test_a_missing_ref_names_its_neighbours(root: Path, repo: Repo) -> None:
    repo.git("branch", "develop")
    mirror = await fetched(root, repo)
    with pytest.raises(RepositoryError) as caught:
        await mirror.resolve("develpo")
    assert "develop" in caught.value.hint
    for hostile in (
        "a b",
        "x\n",
        "--upload-pack=x",
        "a..b",
        "main:a.txt",
        "@{-1}",
        "x\x1b[2J",
        "",
        "main^{/x}",
    ):
        with pytest.raises(UsageError):
            await mirror.resolve(hostile)


@pytest.mark.parametrize(
    "name", ["x;touch${IFS}canary", "x$(touch${IFS}canary)", "`touch${IFS}canary`", "a|b&c", "x\u3000y"]
)
async def test_hostile_branch_names_are_only_names(
    root: Path, repo: Repo, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repo.git("checkout", "-q", "-b", name)
    mirror = await fetched(root, repo)
    assert mirror.default_ref() == name
    assert await mirror.resolve(name) == repo.head()
    assert not list(tmp_path.rglob("canary"))


async def test_hostile_config_in_the_origin_runs_nothing(root: Path, repo: Repo, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\necho $0 $* >> {canary}\nexec cat\n")
    script.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc", "post-checkout"):
        shutil.copy(script, hooks / hook)
    for setting in (
        f"core.hooksPath={hooks}",
        f"core.fsmonitor={script}",
        f"core.sshCommand={script}",
        f"core.alternateRefsCommand={script}",
        f"core.gitProxy={script}",
        f"uploadpack.packObjectsHook={script}",
        f"filter.evil.clean={script}",
        f"filter.evil.smudge={script}",
        f"diff.external={script}",
        f"credential.helper=!{script}",
        f"remote.origin.url=ext::{script}",
        f"remote.origin.uploadpack={script}",
        "remote.origin.promisor=true",
        "extensions.partialClone=origin",
        "core.repositoryFormatVersion=1",
    ):
        repo.git("config", *setting.split("=", 1))
    env = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "core.hooksPath", "GIT_CONFIG_VALUE_0": os.devnull}
    env |= {"GIT_CONFIG_KEY_1": "core.fsmonitor", "GIT_CONFIG_VALUE_1": "false"}
    repo.write(".gitattributes", "*.bin filter=evil\n")
    repo.git("add", ".gitattributes", env=env)
    repo.git("commit", "-q", "-m", "attributes", env=env)
    canary.unlink(missing_ok=True)
    mirror = await fetched(root, repo)
    assert await mirror.resolve() == repo.head()
    # With a blob missing, git would ask the promisor remote for it: that is, run its upload-pack.
    blob = repo.git("rev-parse", "HEAD:a.txt")
    (repo.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GitError):
        await fetched(root / "second", repo)
    assert not canary.exists(), canary.read_text()
    # The trap is real: what people run every day springs it.
    repo.git("status", env={"GIT_ALLOW_PROTOCOL": "none"})
    assert canary.exists()


async def test_another_users_repository_can_be_fetched(root: Path, repo: Repo) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    for path in (repo.path, *repo.path.rglob("*")):
        os.chown(path, 65534, 65534)
    mirror = await fetched(root, repo)
    assert await mirror.has(await mirror.resolve())


async def test_two_processes_fetch_at_once(root: Path, repo: Repo) -> None:
    for number in range(20):
        repo.git("branch", f"b{number}")
    code = (
        "import asyncio, sys, pathlib\n"
        "from overnight.git.mirror import Mirror\n"
        "async def main():\n"
        "    mirror = await Mirror.open(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
        "    await mirror.fetch()\n"
        "    print(await mirror.resolve('b7'))\n"
        "asyncio.run(main())\n"
    )
    args = [sys.executable, "-c", code, str(root), str(repo.path)]
    processes = [
        await asyncio.create_subprocess_exec(*args, stdout=asyncio.subprocess.PIPE) for _ in range(3)
    ]
    answers = await asyncio.gather(*(process.communicate() for process in processes))
    assert [out.decode().strip() for out, _ in answers] == [repo.head()] * 3
    assert [process.returncode for process in processes] == [0, 0, 0]


async def test_shallow_origin_and_its_later_history(root: Path, repo: Repo, tmp_path: Path) -> None:
    for number in range(3):
        repo.commit(f"c{number}", {"n.txt": str(number)})
    bare_git("clone", "-q", "--depth", "1", f"file://{repo.path}", str(tmp_path / "shallow"))
    shallow = Repo(tmp_path / "shallow")
    mirror = await fetched(root, shallow)
    assert mirror.shallow()
    assert await mirror.resolve() == repo.head()
    with pytest.raises(RepositoryError):
        await mirror.resolve("main~1")
    shallow.git("fetch", "-q", "--unshallow")
    await mirror.fetch()
    assert await mirror.resolve("main~1") == repo.head("HEAD~1")


async def test_empty_repository(root: Path, tmp_path: Path) -> None:
    mirror = await fetched(root, Repo.make(tmp_path / "empty"))
    for ref in (None, "main"):
        with pytest.raises(RepositoryError, match="no commits") as caught:
            await mirror.resolve(ref)
        assert "commit" in caught.value.hint


async def test_unborn_head_beside_real_branches(root: Path, repo: Repo) -> None:
    repo.git("symbolic-ref", "HEAD", "refs/heads/nothing")
    mirror = await fetched(root, repo)
    with pytest.raises(RepositoryError) as caught:
        mirror.default_ref()
    assert "main" in caught.value.hint
    assert await mirror.resolve("main")


async def test_detached_head_reaches_commits_that_no_branch_has(root: Path, repo: Repo) -> None:
    repo.git("checkout", "-q", "--detach")
    lonely = repo.commit("lonely", {"l.txt": "l"})
    mirror = await fetched(root, repo)
    assert mirror.default_ref() == lonely == await mirror.resolve()


async def test_a_commit_that_no_branch_reaches_is_fetched_when_wanted(root: Path, repo: Repo) -> None:
    wanted = repo.commit("dropped", {"d.txt": "d"})
    repo.git("reset", "-q", "--hard", "HEAD~1")
    mirror = await fetched(root, repo)
    with pytest.raises(RepositoryError):
        await mirror.resolve(wanted)
    await mirror.fetch(want=wanted)
    assert await mirror.resolve(wanted) == wanted


async def test_paths_that_stand_for_a_repository(root: Path, repo: Repo, tmp_path: Path) -> None:
    bare_git("clone", "-q", "--bare", str(repo.path), str(tmp_path / "bare.git"))
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    for text in (
        str(repo.path / "src"),
        str(repo.path / ".git"),
        f"file://{repo.path}",
        str(repo.path / "a.txt"),
    ):
        assert locate(text) == locate(str(repo.path))
    assert locate("src", start=repo.path).path == repo.path
    assert locate(str(tmp_path / "bare.git")).kind == "bare"
    mirror = await Mirror.open(root, str(tmp_path / "bare.git"))
    await mirror.fetch()
    assert await mirror.resolve() == repo.head()
    linked = await Mirror.open(root, str(tmp_path / "linked"))
    await linked.fetch()
    assert linked.default_ref() == "side"


def test_origins_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no git repository") as caught:
        locate(str(tmp_path))
    assert "git init" in caught.value.hint
    for text in (
        "", "-x", "--upload-pack=x", str(tmp_path / "missing"), "ext::sh -c touch", "ext::sh%20x", "git://h/x",
        "http://h/x", "https://user:token@host/x", "https:///x", "https://host", "ssh://-oProxyCommand=x/y",
        "a\x00b", "fd::7", "-oProxyCommand=x:y",
    ):  # fmt: skip
        with pytest.raises(UsageError):
            locate(text)


@pytest.mark.parametrize(
    "text", ["https://example.org/a/b.git", "ssh://git@example.org/a/b", "git@example.org:a/b.git"]
)
def test_urls(text: str) -> None:
    origin = locate(text)
    assert (origin.kind, origin.name, origin.location) == ("url", "b", text)
    assert origin.key.startswith("b-")


async def test_an_unreachable_url_is_a_clear_error(root: Path) -> None:
    mirror = await Mirror.open(root, "https://127.0.0.1:1/x.git")
    with pytest.raises(GitError, match="cannot fetch from https://127") as caught:
        await mirror.fetch()
    assert "\n" not in caught.value.message


async def test_old_oddities_are_let_through_and_tricks_are_not(root: Path, repo: Repo) -> None:
    tree = repo.head("HEAD^{tree}")
    odd = (
        f"tree {tree}\nauthor Ada <ada@example.org>1 +0000\ncommitter Ada <ada@example.org> 1 +51800\n\nodd\n"
    )
    repo.write("odd", odd)
    commit = repo.git("hash-object", "-t", "commit", "-w", "--literally", str(repo.path / "odd"))
    repo.git("update-ref", "refs/heads/odd", commit)
    mirror = await Mirror.open(root, str(repo.path))
    assert any("missingSpace" in line or "badTimezone" in line for line in (await mirror.fetch()).warnings)
    evil = repo.git("mktree", stdin=f"040000 tree {tree}\t.git\n")
    repo.git("update-ref", "refs/heads/evil", repo.git("commit-tree", evil, "-m", "evil"))
    with pytest.raises(GitError, match="cannot fetch from"):
        await mirror.fetch()
    assert [e.path for e in await list_tree(mirror, await mirror.resolve("main"))] == ["a.txt", "src/b.py"]
