from pathlib import Path

import pytest

from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.patch import EXECUTABLE, REGULAR, SYMLINK, FileChange
from overnight.git.apply import apply_to_checkout, checkout_branch, contains, merge_into_checkout
from overnight.git.commit import commit_changes
from overnight.git.mirror import Mirror
from tests.git.git_repo import Repo, bare_git

pytestmark = pytest.mark.anyio
BRANCH = "overnight/work-1"


def put(path: str, content: bytes | None, mode: int = REGULAR) -> FileChange:
    return FileChange(path=path, mode=0 if content is None else mode, content=content)


class Work:
    """A mirror with one branch of ours, made from the repository's HEAD."""

    def __init__(self, mirror: Mirror, base: str, head: str) -> None:
        self.mirror, self.base, self.head = mirror, base, head

    @classmethod
    async def make(cls, root: Path, repo: Repo, *changes: FileChange) -> "Work":
        mirror = await Mirror.open(root, str(repo.path))
        await mirror.fetch()
        base = await mirror.resolve()
        return cls(mirror, base, await commit_changes(mirror, base, changes, "work", BRANCH, at=1e9))


ALL = (
    put("a.txt", b"two\n"),
    put("src/b.py", None),
    put("new/c.sh", b"#!/bin/sh\n", EXECUTABLE),
    put("bin", b"\x00\xff"),
    put("link", b"a.txt", SYMLINK),
)


async def test_apply_leaves_the_change_uncommitted(root: Path, repo: Repo, user: dict[str, str]) -> None:
    work = await Work.make(root, repo, *ALL)
    repo.write("unrelated", "mine")
    head, index = repo.head(), repo.git("ls-files", "--stage")
    paths = await apply_to_checkout(repo.path, work.mirror, work.base, work.head, user=user)
    assert sorted(paths) == sorted(change.path for change in ALL)
    assert (repo.path / "a.txt").read_bytes() == b"two\n"
    assert not (repo.path / "src/b.py").exists()
    assert (repo.path / "new/c.sh").stat().st_mode & 0o111
    assert (repo.path / "bin").read_bytes() == b"\x00\xff"
    assert (repo.path / "link").is_symlink()
    assert (repo.head(), repo.git("ls-files", "--stage")) == (head, index)
    assert (repo.path / "unrelated").read_text() == "mine"


async def test_apply_from_a_subfolder_and_onto_moved_history(
    root: Path, repo: Repo, user: dict[str, str]
) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"))
    repo.commit("elsewhere", {"z": "z"})
    await apply_to_checkout(repo.path / "src", work.mirror, work.base, work.head, user=user)
    assert (repo.path / "a.txt").read_bytes() == b"two\n"


def edit(repo: Repo) -> str:
    repo.write("a.txt", "my work\n")
    return "a.txt"


def stage(repo: Repo) -> str:
    repo.write("a.txt", "my work\n")
    repo.git("add", "a.txt")
    return "a.txt"


def edit_what_will_go(repo: Repo) -> str:
    repo.write("src/b.py", "my work\n")
    return "src/b.py"


def untracked(repo: Repo) -> str:
    repo.write("new/c.sh", "my work\n")
    return "new/c.sh"


def ignored(repo: Repo) -> str:
    repo.write(".git/info/exclude", "bin\n")
    repo.write("bin", "my work\n")
    return "bin"


def file_for_a_folder(repo: Repo) -> str:
    repo.write("new", "my work\n")
    return "new"


def link_for_a_folder(repo: Repo) -> str:
    (repo.path / "new").symlink_to("/tmp")
    return "new"


def folder_for_a_file(repo: Repo) -> str:
    repo.write("bin/mine", "my work\n")
    return "bin/mine"


def other_content(repo: Repo) -> str:
    repo.commit("other", {"a.txt": "something else\n"})
    return "a.txt"


@pytest.mark.parametrize(
    "obstacle",
    [
        edit,
        stage,
        edit_what_will_go,
        untracked,
        ignored,
        file_for_a_folder,
        link_for_a_folder,
        folder_for_a_file,
        other_content,
    ],
)
async def test_apply_refuses_and_changes_nothing(
    root: Path, repo: Repo, user: dict[str, str], obstacle: "object"
) -> None:
    work = await Work.make(root, repo, *ALL)
    assert callable(obstacle)
    named = str(obstacle(repo))
    before = repo.fingerprint()
    with pytest.raises(ConflictError) as caught:
        await apply_to_checkout(repo.path, work.mirror, work.base, work.head, user=user)
    assert named in caught.value.message
    assert repo.fingerprint() == before


async def test_a_file_may_become_a_folder_and_back(root: Path, repo: Repo, user: dict[str, str]) -> None:
    work = await Work.make(
        root, repo, put("a.txt", None), put("a.txt/x", b"x"), put("src/b.py", None), put("src", b"f")
    )
    await apply_to_checkout(repo.path, work.mirror, work.base, work.head, user=user)
    assert (repo.path / "a.txt/x").read_bytes() == b"x"
    assert (repo.path / "src").read_bytes() == b"f"


async def test_apply_needs_a_checkout(root: Path, repo: Repo, user: dict[str, str], tmp_path: Path) -> None:
    work = await Work.make(root, repo, *ALL)
    bare_git("clone", "-q", "--bare", str(repo.path), str(tmp_path / "bare"))
    with pytest.raises(UsageError):
        await apply_to_checkout(tmp_path / "bare", work.mirror, work.base, work.head, user=user)


async def test_checkout_switches_and_keeps_unrelated_work(
    root: Path, repo: Repo, user: dict[str, str]
) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"))
    repo.write("src/b.py", "my work\n")
    assert await checkout_branch(repo.path, work.mirror, BRANCH, user=user) == work.head
    assert repo.git("branch", "--show-current") == BRANCH
    assert repo.head() == work.head
    assert (repo.path / "src/b.py").read_text() == "my work\n"
    assert await checkout_branch(repo.path, work.mirror, BRANCH, user=user) == work.head


async def test_checkout_refuses_to_lose_work(root: Path, repo: Repo, user: dict[str, str]) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"), put("new", b"n"))
    repo.write("a.txt", "my work\n")
    with pytest.raises(ConflictError, match=r"a\.txt"):
        await checkout_branch(repo.path, work.mirror, BRANCH, user=user)
    repo.git("checkout", "-q", "a.txt")
    repo.write("new", "mine")
    with pytest.raises(ConflictError, match="new"):
        await checkout_branch(repo.path, work.mirror, BRANCH, user=user)
    assert repo.git("branch", "--show-current") == "main"
    (repo.path / "new").unlink()
    await checkout_branch(repo.path, work.mirror, BRANCH, user=user)
    mine = repo.commit("mine on top", {"m": "m"})
    with pytest.raises(ConflictError, match="other commits"):
        await checkout_branch(repo.path, work.mirror, BRANCH, user=user)
    assert repo.head() == mine
    with pytest.raises(UsageError):
        await checkout_branch(repo.path, work.mirror, "overnight/none", user=user)


async def merge(repo: Path, work: Work, user: dict[str, str], base_ref: str = "main"):
    return await merge_into_checkout(
        repo, work.mirror, BRANCH, base_ref, message="Merge it", user=user, at=2e9
    )


async def test_merge_forward(root: Path, repo: Repo, user: dict[str, str]) -> None:
    work = await Work.make(root, repo, *ALL)
    assert await contains(repo.path, "main", work.head, user=user) is None
    merged = await merge(repo.path, work, user)
    assert (merged.how, merged.commit) == ("fast-forward", work.head)
    assert repo.head() == repo.head("main") == work.head
    assert repo.git("status", "--porcelain") == ""
    assert (await merge(repo.path, work, user)).how == "already merged"
    assert await contains(repo.path, "main", work.head, user=user) == work.head


async def test_merge_commit_in_the_persons_name(
    root: Path, repo: Repo, user: dict[str, str], tmp_path: Path
) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"))
    mine = repo.commit("mine", {"m.txt": "m"})
    canary = tmp_path / "canary"
    for hook in ("post-merge", "reference-transaction", "commit-msg", "post-checkout"):
        repo.write(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {canary}\n")
        (repo.path / ".git/hooks" / hook).chmod(0o755)
    merged = await merge(repo.path, work, user)
    assert merged.how == "merge commit"
    assert (
        repo.git("log", "-1", "--format=%an|%ae|%P|%s")
        == f"Grace|grace@example.org|{mine} {work.head}|Merge it"
    )
    assert (repo.path / "a.txt").read_text() == "two\n"
    assert (repo.path / "m.txt").read_text() == "m"
    assert not canary.exists()


async def test_merge_refuses_under_uncommitted_work(root: Path, repo: Repo, user: dict[str, str]) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"), put("new", b"n"))
    repo.write("src/b.py", "my work\n")
    before = repo.fingerprint()
    with pytest.raises(ConflictError, match=r"src/b\.py"):
        await merge(repo.path, work, user)
    assert repo.fingerprint() == before
    repo.git("checkout", "-q", "src/b.py")
    repo.write("new", "untracked work")
    with pytest.raises(ConflictError, match="new"):
        await merge(repo.path, work, user)
    assert repo.head() == work.base
    assert (repo.path / "new").read_text() == "untracked work"


async def test_merge_conflict_changes_nothing(root: Path, repo: Repo, user: dict[str, str]) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"), put("src/b.py", b"x = 1\n"))
    repo.commit("mine", {"a.txt": "three\n"})
    before = repo.fingerprint()
    with pytest.raises(ConflictError, match=r"conflict in a\.txt$"):
        await merge(repo.path, work, user)
    assert repo.fingerprint() == before
    repo.write(".git/MERGE_HEAD", work.base)
    with pytest.raises(ConflictError, match="a merge is unfinished"):
        await merge(repo.path, work, user)


async def test_merge_into_a_branch_that_is_not_checked_out(
    root: Path, repo: Repo, user: dict[str, str], tmp_path: Path
) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"))
    repo.git("checkout", "-q", "-b", "other")
    repo.write("a.txt", "my work\n")
    assert (await merge(repo.path, work, user)).how == "fast-forward"
    assert repo.head("main") == work.head
    assert repo.git("branch", "--show-current") == "other"
    assert (repo.path / "a.txt").read_text() == "my work\n"
    repo.git("branch", "third", work.base)
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"), "third")
    with pytest.raises(ConflictError, match="linked"):
        await merge(repo.path, work, user, "third")
    assert (await merge(tmp_path / "linked", work, user, "third")).how == "fast-forward"
    assert (tmp_path / "linked/a.txt").read_text() == "two\n"


async def test_merge_into_a_bare_repository(
    root: Path, repo: Repo, user: dict[str, str], tmp_path: Path
) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"))
    repo.commit("mine", {"m": "m"})
    bare_git("clone", "-q", "--bare", str(repo.path), str(tmp_path / "bare"))
    merged = await merge(tmp_path / "bare", work, user)
    assert merged.how == "merge commit"
    assert bare_git("-C", str(tmp_path / "bare"), "rev-parse", "main") == merged.commit
    assert bare_git("-C", str(tmp_path / "bare"), "cat-file", "-p", "main:a.txt") == "two"


async def test_merge_refusals(root: Path, repo: Repo, user: dict[str, str]) -> None:
    work = await Work.make(root, repo, put("a.txt", b"two\n"))
    for base_ref in ("missing", work.base, "--help", "main:x"):
        with pytest.raises(UsageError):
            await merge(repo.path, work, user, base_ref)
    with pytest.raises(ConflictError, match="moved"):
        await merge_into_checkout(
            repo.path, work.mirror, BRANCH, "main", message="m", user=user, expected=work.base
        )
