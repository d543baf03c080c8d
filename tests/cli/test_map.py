"""`overnight map`: what an agent would see of a repository, and where a name is."""

from pathlib import Path

import pytest

from tests.cli.conftest import Answer
from tests.house import House, make_repository


@pytest.fixture(scope="module")
def repository(place: Path) -> Path:
    return make_repository(place / "repository")


def test_it_shows_the_map(answer: Answer, repository: Path) -> None:
    ended = answer("map", "--repo", str(repository), "--focus", "`double` is wrong")
    assert ended.code == 0
    assert ended.stdout.startswith("calc.py:\n    1  def add(a, b)\n    5  def double(a)\n")
    assert "2 files, about " in ended.stderr
    shown = answer("map", "--repo", str(repository), "--tokens", "20", "--json").json
    assert shown["tokens"] <= 20
    assert shown["left_out"] == {}
    assert [file["path"] for file in shown["files"]] == ["calc.py"]


def test_the_same_input_gives_the_same_bytes(home: House, repository: Path) -> None:
    shown = {
        home.run("map", "--repo", str(repository), "--focus", "add two", PYTHONHASHSEED=seed).stdout
        for seed in ("1", "2")
    }
    assert len(shown) == 1
    assert "def add" in shown.pop()


def test_it_looks_a_name_up(answer: Answer, repository: Path) -> None:
    found = answer("map", "--repo", str(repository), "--symbol", "add", "--json").json
    assert [(place["path"], place["line"]) for place in found["definitions"]] == [("calc.py", 1)]
    assert {place["path"] for place in found["references"]} == {"calc.py", "test_calc.py"}
    text = answer("map", "--repo", str(repository), "--symbol", "add").stdout
    assert text.startswith("calc.py:1: def add(a, b)\n")
    missing = answer("map", "--repo", str(repository), "--symbol", "ad")
    assert missing.code == 64
    assert "add" in missing.stderr


def test_wrong_sizes_and_empty_repositories_are_said(
    answer: Answer, repository: Path, tmp_path: Path
) -> None:
    assert answer("map", "--repo", str(repository), "--tokens", "-1").code == 64
    bare = make_repository(tmp_path / "bare", {"notes.txt": "x\n"})
    ended = answer("map", "--repo", str(bare))
    assert (ended.code, ended.stdout) == (0, "")
    assert "No source file" in ended.stderr
