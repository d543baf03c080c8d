"""`overnight pr`: the local forge, on real repositories."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHECK, Answer, digest, patching
from tests.house import FIX, House, git

Work = Callable[..., dict[str, Any]]


@pytest.fixture
def work(home: House, answer: Answer) -> Work:
    """Carry out a task and return what `--json` says."""

    def call(repository: Path, *more: str, patch: str = FIX) -> dict[str, Any]:
        model = patching(home, patch)
        command = ("run", "Fix add", "--repo", str(repository), "--model", model, "--check", CHECK, "--json")
        return answer(*command, *more).json

    return call


def number(task: dict[str, Any]) -> str:
    return str(task["pull_request"]["number"])


def test_lists_and_views(answer: Answer, work: Work, repository: Path) -> None:
    task = work(repository)
    listed = answer("pr", "list", "--json").json
    assert task["pull_request"] in listed
    assert "Fix add" in answer("pr", "list").stdout
    shown = answer("pr", "view", number(task), "--json", "--patch").json
    assert "+    return a + b" in shown["patch"]
    text = answer("pr", "view", number(task), "--patch").stdout
    for part in ("Fix add", "→ main", CHECK, "red", "green", "+    return a + b"):
        assert part in text


def test_merge_fast_forwards(answer: Answer, work: Work, repository: Path) -> None:
    task = work(repository)
    ended = answer("pr", "merge", number(task), "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["state"] == "merged"
    assert (
        ended.json["merged_commit"] == task["pull_request"]["commit"] == git(repository, "rev-parse", "main")
    )
    assert "a + b" in (repository / "calc.py").read_text()
    assert git(repository, "status", "--porcelain") == ""
    assert answer("pr", "merge", number(task)).code == 64, "merged already"
    assert answer("pr", "view", number(task), "--json").json["state"] == "merged"


def test_merge_makes_a_commit_when_the_base_moved(answer: Answer, work: Work, repository: Path) -> None:
    task = work(repository)
    (repository / "README.md").write_text("Moved on.\n")
    git(repository, "commit", "-qam", "moved")
    moved = git(repository, "rev-parse", "main")
    ended = answer("pr", "merge", number(task))
    assert ended.code == 0, ended.stderr
    assert git(repository, "log", "-1", "--format=%P", "main") == f"{moved} {task['pull_request']['commit']}"
    assert "a + b" in (repository / "calc.py").read_text()
    assert (repository / "README.md").read_text() == "Moved on.\n"


def test_merge_is_refused_under_uncommitted_work(answer: Answer, work: Work, repository: Path) -> None:
    task = work(repository)
    (repository / "calc.py").write_text("mine\n")
    before = digest(repository)
    ended = answer("pr", "merge", number(task))
    assert ended.code == 1
    assert "calc.py" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert digest(repository) == before
    assert answer("pr", "view", number(task), "--json").json["state"] == "open"


def test_a_conflict_is_refused_and_leaves_all_as_it_was(answer: Answer, work: Work, repository: Path) -> None:
    task = work(repository)
    (repository / "calc.py").write_text("def add(a, b):\n    return b - a\n")
    git(repository, "commit", "-qam", "another way")
    head = git(repository, "rev-parse", "main")
    ended = answer("pr", "merge", number(task))
    assert ended.code == 1
    assert "calc.py" in ended.stderr
    assert git(repository, "rev-parse", "main") == head
    assert git(repository, "status", "--porcelain") == ""


def test_a_person_may_publish_what_is_not_verified(answer: Answer, work: Work, repository: Path) -> None:
    task = work(repository, "--no-verify")
    assert task["pull_request"] is None
    created = answer("pr", "create", task["task"], "--json")
    assert created.code == 0, created.stderr
    body = answer("pr", "view", str(created.json["number"]), "--json").json["body"]
    assert "nverified" in body
    assert answer("pr", "create", task["task"], "--json").json == created.json, "one pull request only"


def test_nothing_to_publish_is_said(answer: Answer, work: Work, home: House, repository: Path) -> None:
    model = home.script([{"text": "No."}], "idle")
    ended = answer("run", "Fix", "--repo", str(repository), "--model", model, "--check", CHECK, "--json")
    task = ended.json
    assert answer("pr", "create", task["task"]).code == 64
    assert answer("pr", "create", task["attempts"][0]["id"]).code == 64
    assert answer("task", "diff", task["task"]).code == 64


def test_a_pruning_fetch_keeps_our_branches(
    answer: Answer, work: Work, home: House, repository: Path
) -> None:
    repository = repository.rename(repository.with_name("pruned"))
    git(repository, "branch", "topic")
    task = work(repository)
    git(repository, "branch", "-D", "topic")
    again = work(repository)
    (mirror,) = (home.root / "data" / "mirrors").glob(f"{repository.name}-*.git")
    kept = git(mirror, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
    for one in (task, again):
        assert f"{one['pull_request']['branch']} {one['pull_request']['commit']}" in kept
    assert "topic" not in git(mirror, "for-each-ref", "--format=%(refname)")
    assert answer("pr", "merge", number(task)).code == 0
