"""A change carried to another base: contents merged three ways, whatever the history in between."""

from pathlib import Path

import pytest

from overnight.domain.patch import REGULAR, FileChange
from overnight.git.carry import carry_over
from overnight.git.commit import advance_branch, commit_changes
from overnight.git.mirror import Mirror
from overnight.git.objects import changed_files, read_file
from overnight.git.run import run_git
from tests.git.git_repo import Repo, bare_git

pytestmark = pytest.mark.anyio
NAME = "overnight/carried-1"
LINES = "".join(f"line {number}\n" for number in range(1, 21))


def put(path: str, content: str | None) -> FileChange:
    if content is None:
        return FileChange(path=path, mode=0, content=None)
    return FileChange(path=path, mode=REGULAR, content=content.encode())


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path / "origin", {"a.txt": LINES, "b.txt": "b\n", "c.txt": "c\n"})


@pytest.fixture
async def mirror(root: Path, repo: Repo) -> Mirror:
    made = await Mirror.open(root, str(repo.path))
    await made.fetch()
    return made


async def moved(mirror: Mirror, repo: Repo, files: dict[str, str | None], amend: bool = False) -> str:
    """Commit `files` upstream (None deletes), and return the new commit in the mirror."""
    for path, content in files.items():
        if content is None:
            (repo.path / path).unlink()
        else:
            (repo.path / path).write_text(content)
    bare_git("-C", str(repo.path), "add", "-A")
    bare_git("-C", str(repo.path), "commit", "-qm", "moved", *(["--amend"] if amend else []))
    await mirror.fetch()
    return await mirror.resolve()


async def branches(mirror: Mirror) -> str:
    return (await run_git("for-each-ref", "refs/heads", git_dir=mirror.path)).text


@pytest.mark.parametrize("rewritten", [False, True])
async def test_both_sides_are_kept(mirror: Mirror, repo: Repo, rewritten: bool) -> None:
    old = await mirror.resolve()
    theirs = {"a.txt": LINES.replace("line 2\n", "line two\n"), "new.txt": "n\n", "c.txt": None}
    new = await moved(mirror, repo, theirs, amend=rewritten)
    changes = [
        put("a.txt", LINES.replace("line 19\n", "line nineteen\n")),
        put("b.txt", None),
        put("d.txt", "d\n"),
    ]
    carried = await carry_over(mirror, old, changes, new, NAME)
    assert carried.conflicts == ()
    both = LINES.replace("line 2\n", "line two\n").replace("line 19\n", "line nineteen\n")
    assert {change.path: change.content for change in carried.changes} == {
        "a.txt": both.encode(),
        "b.txt": None,
        "d.txt": b"d\n",
    }
    assert await branches(mirror) == ""
    assert await carry_over(mirror, old, changes, new, NAME) == carried
    assert (await carry_over(mirror, old, [], new, NAME)).changes == ()


async def test_conflicts_have_markers_or_one_of_the_versions(mirror: Mirror, repo: Repo) -> None:
    old = await mirror.resolve()
    new = await moved(mirror, repo, {"a.txt": LINES.replace("line 5\n", "theirs\n"), "b.txt": None})
    changes = [put("a.txt", LINES.replace("line 5\n", "mine\n")), put("b.txt", "mine\n")]
    carried = await carry_over(mirror, old, changes, new, NAME)
    assert sorted(carried.conflicts) == ["a.txt", "b.txt"]
    found = {change.path: (change.content or b"").decode() for change in carried.changes}
    assert f"<<<<<<< the base at {new[:12]}\ntheirs\n=======\nmine\n>>>>>>> your changes\n" in found["a.txt"]
    assert found["b.txt"] == "mine\n"


async def test_a_later_commit_stands_on_the_earlier_one_with_the_files_of_the_base(
    mirror: Mirror, repo: Repo
) -> None:
    old = await mirror.resolve()
    branch = "overnight/fix-1"
    first = await commit_changes(mirror, old, [put("b.txt", "1\n")], "one", branch, at=1e9)
    new = await moved(mirror, repo, {"c.txt": "moved\n"})
    staging = f"{branch}-2"
    second = await commit_changes(
        mirror, new, [put("d.txt", "2\n")], "two", staging, at=2e9, parent=first, merged=True
    )
    answer = await run_git("log", "-1", "--format=%P", second, git_dir=mirror.path)
    assert answer.text.split() == [first, new]
    assert [change.path for change in await changed_files(mirror, new, second)] == ["d.txt"]
    assert await read_file(mirror, second, "b.txt") == b"b\n", "what the first had changed is gone"
    assert await mirror.branch_commit(branch) == first
    third = await commit_changes(mirror, new, [put("d.txt", "3\n")], "three", staging, at=3e9, parent=second)
    answer = await run_git("log", "-1", "--format=%P", third, git_dir=mirror.path)
    assert answer.text == second

    assert await advance_branch(mirror, branch, third, (old,)) is False, "it stands elsewhere"
    assert await mirror.branch_commit(branch) == first
    assert await advance_branch(mirror, branch, third, (first, second)) is True
    assert await advance_branch(mirror, branch, third, ()) is True
    assert await advance_branch(mirror, "overnight/other-1", third, ()) is True, (
        "one that is not there is made"
    )
    assert await mirror.branch_commit(branch) == third
