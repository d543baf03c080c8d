"""`overnight prune` and the size limit: what nothing needs goes, what people made stays."""

from pathlib import Path
from typing import Any

from tests.cli.conftest import CHECK, Answer, patching
from tests.house import House, make_repository


def work(answer: Answer, house: House, repository: Path, **variables: str) -> dict[str, Any]:
    ended = answer(
        "run", "Fix add", "--repo", str(repository), "--model", patching(house), "--check", CHECK, "--json",
        **variables,
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    return ended.json


def snapshots(home: House) -> int:
    return len(list((home.root / "data" / "snapshots").rglob("calc.py")))


def test_prune_keeps_patches_and_pull_requests(answer: Answer, home: House, repository: Path) -> None:
    task = work(answer, home, repository)
    assert snapshots(home) > 0
    preview = answer("prune", "--dry-run", "--json").json
    assert preview["dry_run"] is True
    assert preview["snapshots_bytes"] > 0
    assert snapshots(home) > 0, "a dry run removes nothing"

    freed = answer("prune", "--json").json
    assert freed["after_bytes"] < freed["before_bytes"]
    assert snapshots(home) == 0
    assert [path for path in (home.root / "data" / "workspaces").iterdir() if path.is_dir()] == []

    assert "+    return a + b" in answer("task", "diff", task["task"]).stdout
    assert answer("pr", "view", "1", "--json").json["state"] == "open"
    assert answer("task", "logs", task["task"]).stdout
    assert answer("pr", "merge", "1").code == 0
    second = make_repository(repository.with_name("second"))
    assert work(answer, home, second)["pull_request"]["number"] == 2


def test_a_limit_is_kept_before_each_run(answer: Answer, home: House, repository: Path) -> None:
    work(answer, home, repository)
    assert snapshots(home) > 0
    ended = answer(
        "run", "Fix add", "--repo", str(repository), "--model", patching(home), "--check", CHECK, "--json",
        OVERNIGHT_DISK_LIMIT="1k",
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert "OVERNIGHT_DISK_LIMIT" in ended.stderr


def test_old_tasks_are_forgotten_on_request_only(answer: Answer, home: House, repository: Path) -> None:
    task = work(answer, home, repository)
    assert answer("prune", "--older-than", "30d", "--json").json["tasks"] == 0
    assert answer("prune", "--older-than", "0.001s", "--json").json["tasks"] > 0
    assert answer("task", "view", task["task"]).code == 64
    assert answer("task", "list", "--json").json == []
    assert answer("prune", "--older-than", "soon").code == 64
