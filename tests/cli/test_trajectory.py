"""`overnight task export` and `replay`: an attempt read elsewhere, and made again without its model."""

import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import CHECK, Answer, calling, patching
from tests.events.atif_schema import Trajectory
from tests.house import House


@pytest.fixture
def answer(house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Answer:
    """Call the command line of the test's house."""
    return calling(house, monkeypatch, capfd)


def test_an_attempt_is_exported_and_replays_to_the_same_patch(
    house: House, answer: Answer, buggy: Path, tmp_path: Path
) -> None:
    arguments = ("run", "Fix add", "--repo", str(buggy), "--check", CHECK, "--json")
    ran = answer(*arguments, "--model", patching(house)).json
    attempt = ran["attempts"][0]["id"]
    diff = answer("task", "diff", attempt).stdout

    found = answer("task", "export", ran["task"]).json
    Trajectory.model_validate(found)
    assert found["session_id"] == attempt
    assert found["steps"][-1]["message"] == "All done."
    mini = answer("task", "export", attempt, "--format", "mini-swe-agent").json
    assert mini["info"]["submission"] == diff
    file = tmp_path / "recording.json"
    assert answer("task", "export", attempt, "--format", "recording", "--output", str(file)).stdout == ""

    (house.root / "patching.json").unlink()  # nothing but the recording answers
    again = answer("task", "replay", attempt)
    assert again.code == 0, again
    assert "byte-identical" in again.stderr
    from_file = answer(*arguments, "--model", f"replay:{file}")
    assert from_file.code == 0, from_file
    (made,) = from_file.json["attempts"]
    assert (made["agent"], made["usage"]) == ("loop", ran["attempts"][0]["usage"])
    assert answer("task", "diff", made["id"]).stdout == diff
    # A replay is recorded like any attempt.
    assert answer("task", "replay", made["id"]).code == 0


def test_a_replay_that_goes_another_way_says_where(house: House, answer: Answer, buggy: Path) -> None:
    arguments = ("--repo", str(buggy), "--check", CHECK, "--json")
    attempt = answer("run", "Fix add", *arguments, "--model", patching(house)).json["attempts"][0]["id"]
    other = answer("run", "Fix sub", *arguments, "--model", f"replay:{attempt[:10]}")
    assert other.code == 3
    assert "diverges at step 1, call 1: message 2 (user), line" in other.stderr
    assert "'Fix sub', was 'Fix add'" in other.stderr
    assert "Traceback" not in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("task", "export", "{id}", "--format", "xml"), "There is no format 'xml'"),
        (("task", "export", "nobody"), "no task or attempt"),
        (("task", "export", "{id}", "--output", "/nonexistent/x"), "cannot be written"),
        (("run", "x", "--repo", "{repo}", "--model", "replay:nobody"), "no task or attempt"),
        (("run", "x", "--repo", "{repo}", "--model", "replay:/nonexistent.json"), "cannot be read"),
        (("run", "x", "--repo", "{repo}", "--model", "replay:{script}"), "is no recording"),
    ],
)
def test_wrong_names_are_one_line(
    house: House, answer: Answer, buggy: Path, arguments: tuple[str, ...], words: str
) -> None:
    script = patching(house)
    ran = answer("run", "Fix add", "--repo", str(buggy), "--no-verify", "--json", "--model", script).json
    names = {"id": ran["task"], "repo": str(buggy), "script": script.removeprefix("scripted:")}
    ended = answer(*(one.format(**names) for one in arguments))
    assert ended.code == 64, ended
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_attempt_of_before_has_no_recording(house: House, answer: Answer, buggy: Path) -> None:
    ran = answer("run", "x", "--repo", str(buggy), "--no-verify", "--json", "--model", patching(house)).json
    with sqlite3.connect(house.root / "data" / "overnight.db") as database:
        database.execute("delete from chunks")
    ended = answer("task", "replay", ran["task"])
    assert ended.code == 64, ended
    assert "No exchange with a model was recorded" in ended.stderr


def test_the_configuration_file_sets_what_is_known_of_models(
    house: House, answer: Answer, buggy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = house.root / "config.toml"
    monkeypatch.setenv("OVERNIGHT_CONFIG", str(file))
    assert "There is no file" in answer("model", "list").stderr
    arguments = ("run", "x", "--repo", str(buggy), "--no-verify", "--model", "vllm:m")
    for text, words in {
        "[modls]\n": "no table [modls]",
        "models = 3\n": "models is no table",
        "x =": "is no TOML",
        '[models."vllm:m"]\nparalel = 1\n': 'config.toml: [models."vllm:m"]',
        '[models."vllm:m"]\nfallback = "nobody:x"\n': "There is no model 'nobody:x'",
    }.items():
        file.write_text(text)
        ended = answer(*arguments)
        assert (ended.code, words in ended.stderr) == (64, True), (text, ended)
