from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.errors import GitError, OvernightError, PatchError, UsageError
from overnight.domain.patch import EXECUTABLE, REGULAR, SYMLINK, FileChange
from overnight.git.commit import commit_changes
from overnight.git.mirror import Mirror
from overnight.git.objects import (
    changed_files,
    diff,
    diff_and_numstat,
    list_tree,
    numstat,
    read_file,
    read_files,
)
from overnight.git.paths import check_path
from tests.git.git_repo import Repo, bare_git

pytestmark = pytest.mark.anyio
AT = 1_700_000_000.5


def put(path: str, content: bytes | None, mode: int = REGULAR) -> FileChange:
    return FileChange(path=path, mode=0 if content is None else mode, content=content)


@pytest.fixture
async def mirror(root: Path, repo: Repo) -> Mirror:
    made = await Mirror.open(root, str(repo.path))
    await made.fetch()
    return made


async def test_a_commit_holds_exactly_the_changes(mirror: Mirror, repo: Repo) -> None:
    base = await mirror.resolve()
    changes = [
        put("run.sh", b"#!/bin/sh\n", EXECUTABLE),
        put("link", b"../../etc/passwd", SYMLINK),
        put('odd "name"\\ with spaces ', b"\x00\xff\n"),
        put("ünï/é.txt", "é".encode()),
        put("src/b.py", None),
        put("a.txt", None),
        put("a.txt/inside", b"now a folder"),
    ]
    commit = await commit_changes(mirror, base, changes, "Do it\n\nBody \x1b[31m", "overnight/do-it-1", at=AT)
    assert await mirror.branch_commit("overnight/do-it-1") == commit
    found = {c.path: c for c in await changed_files(mirror, base, commit)}
    assert found == {c.path: c for c in changes}
    assert await read_files(mirror, commit, [c.path for c in changes]) == {
        c.path: c.content for c in changes if c.content is not None
    }
    counts = {c.path: (c.added, c.removed) for c in await numstat(mirror, base, commit)}
    assert counts["src/b.py"] == (0, 2)
    assert counts['odd "name"\\ with spaces '] == (None, None)
    shown = bare_git("-C", str(mirror.path), "log", "-1", "--format=%an|%ae|%cn|%at|%P|%B", commit)
    assert shown == f"Overnight|overnight@localhost|Overnight|1700000000|{base}|Do it\n\nBody [31m"
    bare_git("-C", str(mirror.path), "fsck", "--strict")


async def test_the_diff_applies_elsewhere(mirror: Mirror, repo: Repo, tmp_path: Path) -> None:
    base = await mirror.resolve()
    commit = await commit_changes(
        mirror, base, [put("a.txt", b"two\n"), put("bin", b"\x00\x01")], "x", "overnight/x", at=AT
    )
    (tmp_path / "p").write_bytes(await diff(mirror, base, commit))
    repo.git("apply", "--index", str(tmp_path / "p"))
    assert repo.git("write-tree") == bare_git("-C", str(mirror.path), "rev-parse", f"{commit}^{{tree}}")


async def test_the_same_inputs_give_the_same_commit(mirror: Mirror) -> None:
    base = await mirror.resolve()
    one = await commit_changes(mirror, base, [put("x", b"1")], "m", "overnight/x", at=AT)
    assert await commit_changes(mirror, base, [put("x", b"1")], "m", "overnight/x", at=AT) == one
    other = await commit_changes(mirror, base, [put("x", b"2")], "m", "overnight/x", at=AT)
    assert other != one
    assert await mirror.branch_commit("overnight/x") == other


HOSTILE = [
    "", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a/./b", ".git/config", ".GIT/config",
    "a/.git/hooks/x",
    ".Git", "git~1/config", "GIT~1", ".git./config", ".git /config", ".git::$INDEX_ALLOCATION/config",
    ".g\u200cit/config", "\ufeff.git/x", "a\\.git\\config",
    "a\nb", "a\x00b", "a\x7f", "a\x1b]52;c", "x" * 256,
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
async def test_hostile_paths_are_refused(mirror: Mirror, path: str) -> None:
    base = await mirror.resolve()
    for content in (b"evil", None):
        with pytest.raises(PatchError):
            await commit_changes(mirror, base, [put(path, content)], "m", "overnight/x", at=AT)
    assert await mirror.branch_commit("overnight/x") is None


@given(st.text(max_size=40))
def test_any_path_is_written_as_it_is_or_refused(path: str) -> None:
    try:
        check_path(path)
    except PatchError:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")
    assert "\n" not in path


@pytest.mark.parametrize(
    "path", [".gitignore", ".github/workflows/x.yml", "git", "a.git/x", "..a", "…", "agit~1"]
)
def test_ordinary_paths_pass(path: str) -> None:
    check_path(path)


async def test_other_refusals(mirror: Mirror) -> None:
    base = await mirror.resolve()
    cases: list[list[FileChange]] = [
        [],
        [put("x", b"1", 0o160000)],
        [put("x", b"1", 0o100666)],
        [put("x", b"1", 0o040000)],
        [put("x", b"1"), put("x", b"2")],
        [put("x", b"1"), put("x/y", b"2")],
        [put(".gitmodules", b"/etc/passwd", SYMLINK)],
        [put("l", b"a\0b", SYMLINK)],
    ]
    for changes in cases:
        with pytest.raises(PatchError):
            await commit_changes(mirror, base, changes, "m", "overnight/x", at=AT)
    for branch in (
        "main",
        "overnight/",
        "overnight/X",
        "overnight/a/b",
        "overnight/a\n",
        "overnight/../main",
        "overnight/$(x)",
    ):
        with pytest.raises(UsageError):
            await commit_changes(mirror, base, [put("x", b"1")], "m", branch, at=AT)
    for bad in ("main", "0" * 40, "refs/upstream/HEAD", base[:12]):
        with pytest.raises(GitError):
            await commit_changes(mirror, bad, [put("x", b"1")], "m", "overnight/x", at=AT)
    assert await mirror.branch_commit("overnight/x") is None
    assert not list(mirror.path.glob("fast_import_crash*"))


async def test_a_message_cannot_speak_to_fast_import(mirror: Mirror) -> None:
    base = await mirror.resolve()
    text = "x\ndata 3\nabc\nM 100644 inline .git/config\ndone\n"
    commit = await commit_changes(mirror, base, [put("x", text.encode())], text, "overnight/x", at=AT)
    assert [c.path for c in await changed_files(mirror, base, commit)] == ["x"]
    assert await read_file(mirror, commit, "x") == text.encode()


async def test_reading_what_is_not_there(mirror: Mirror) -> None:
    commit = await mirror.resolve()
    assert await read_files(mirror, commit, ["a.txt", "src", "missing", "a.txt"]) == {"a.txt": b"one\n"}
    assert [(e.path, e.mode, e.size) for e in await list_tree(mirror, commit)] == [
        ("a.txt", REGULAR, 4),
        ("src/b.py", REGULAR, 22),
    ]
    with pytest.raises(OvernightError):
        await list_tree(mirror, "0" * 40)


@pytest.mark.parametrize("kind", ["plain", "moved", "odd", "nothing"])
async def test_diff_and_counts_in_one_are_what_they_are_apart(root: Path, repo: Repo, kind: str) -> None:
    many = "".join(f"{number}\n" for number in range(100))
    base = repo.commit("many", {"many": many, "blob": b"\0\1", "folder/b": "b\n"})
    if kind == "plain":
        repo.commit("edits", {"many": many + "more\n", "blob": b"\0\2", "new": "", "folder/b": "c\n\n\nd\n"})
    elif kind == "moved":
        repo.git("mv", "many", "elsewhere")
        repo.commit("moved", {"blob": b"\0\3"})
    elif kind == "odd":
        repo.commit("odd", {'qu"ote': "1\n", "ünï": "2\n", "a => b": "3\n", "tab\there": "4\n"})
    mirror = await Mirror.open(root, str(repo.path))
    await mirror.fetch()
    text, counts = await diff_and_numstat(mirror, base, repo.head())
    assert text == await diff(mirror, base, repo.head())
    assert counts == await numstat(mirror, base, repo.head())
