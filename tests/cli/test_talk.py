"""`overnight task message|steer|pause|resume|answer|fork|rewind` as a person uses them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.conftest import CHECK, Answer, stepping
from tests.house import FIX, House, git, make_repository
from tests.processes import wait_for

MORE = {"name": "shell", "arguments": {"command": "echo more >> more.txt"}}


def answering(model: str, asked: str, text: str, call: dict[str, Any]) -> str:
    """Let the script of `model` make `call` when `asked` was said and not answered by `text` since."""
    path = Path(model.removeprefix("scripted:"))
    script = json.loads(path.read_text())
    regex = rf"(?s){asked}(?!.*{text})"
    script["answers"].insert(0, {"text": text, "tool_calls": [call], "match_regex": regex, "repeat": True})
    path.write_bytes(msgspec.json.encode(script))
    return model


def following(home: House, name: str = "following") -> str:
    """Return a model that fixes the bug, and does more once it is asked to, as often as it is asked."""
    model = stepping(home, [{"name": "apply_patch", "arguments": {"patch": FIX}}], name)
    return answering(model, "Please do more", "Doing more", MORE)


@pytest.fixture(scope="module")
def origin(place: Path) -> Path:
    return make_repository(place / "origin")


@pytest.fixture(scope="module")
def done(home: House, origin: Path) -> dict[str, Any]:
    """Return a task that ended verified."""
    ended = home.run(
        "run", "Fix add", "--repo", str(origin), "--model", following(home), "--check", CHECK, "--json"
    )
    assert ended.code == 0, ended.stderr
    return ended.json


def test_a_follow_up_and_a_fork(answer: Answer, done: dict[str, Any]) -> None:
    attempt = done["attempts"][0]["id"]
    assert "── step 1 ends here" in answer("task", "logs", attempt).stdout
    ended = answer("task", "message", done["task"][:8], "Please do more", "--json")
    assert ended.code == 0, ended.stderr
    shown = ended.json["attempts"][0]
    assert [turn["state"] for turn in shown["turns"]] == ["succeeded", "succeeded"]
    assert shown["turns"][1]["prompt"] == "Please do more"
    assert [(one["kind"], one["state"]) for one in shown["commands"]] == [("message", "accepted")]
    assert shown["patch"]["files"] == ["calc.py", "more.txt"]
    assert ended.json["pull_request"]["commit"] == shown["patch"]["commit"]
    assert shown["turns"][0]["commit"] == done["attempts"][0]["patch"]["commit"]

    forked = answer("task", "fork", attempt[:8], "--at", "1", "--json")
    assert forked.code == 0, forked.stderr
    assert "after step 1: attempt 2" in forked.stderr
    made = forked.json["attempts"][1]
    assert made["forked_from"] == {"attempt": attempt, "step": 1}
    assert made["patch"]["files"] == ["calc.py"]
    text = answer("task", "view", done["task"]).stdout
    for part in (
        "  turn 1 (verified)\n  turn 2 (verified): Please do more\n",
        "  accepted: message Please do more\n",
        f"\n  Attempt 2 ({made['id'][:8]}, loop with",
        f"    forked from attempt 1 ({attempt[:8]}) after step 1\n",
    ):
        assert part in text
    assert f"forked from {attempt[:8]} after step 1" in answer("task", "logs", made["id"]).stdout

    rewound = answer("task", "rewind", made["id"], "--at", "start", "--message", "Please do more", "--json")
    assert rewound.code == 0, rewound.stderr
    assert rewound.json["attempts"][1]["superseded_by"] == rewound.json["attempts"][2]["id"]
    assert rewound.json["attempts"][2]["patch"]["files"] == ["calc.py", "more.txt"]
    assert "superseded by attempt 3" in answer("task", "view", done["task"]).stdout


def test_the_base_that_stays_and_the_base_that_moves(answer: Answer, home: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    model = following(home, "moving")
    ended = answer("run", "Fix add", "--repo", str(repository), "--model", model, "--check", CHECK, "--json")
    assert ended.code == 0, ended.stderr
    attempt = ended.json["attempts"][0]["id"]
    (repository / "README.md").write_text("Moved on.\n")
    git(repository, "commit", "-qam", "move")
    moved = answer("task", "message", attempt, "Please do more", "--update-base", "--json")
    assert moved.code == 0, moved.stderr
    base = git(repository, "rev-parse", "HEAD")
    assert moved.json["attempts"][0]["turns"][1]["base_commit"] == base
    assert moved.json["pull_request"]["base_commit"] == base
    again = answer("task", "message", attempt, "Please do more", "--update-base", "--detach")
    assert again.code == 0
    assert "main is where it was" in again.stderr
    assert "Left for a worker" in again.stderr
    view = answer("task", "view", attempt, "--json").json
    assert (view["state"], view["attempts"][0]["state"]) == ("open", "queued")
    assert view["attempts"][0]["commands"][-1]["state"] == "pending"
    assert "pending: message Please do more" in answer("task", "view", attempt).stdout
    assert answer("task", "resume", attempt).code == 0
    number = next(one["number"] for one in answer("pr", "list", "--json").json if one["attempt"] == attempt)
    merged = answer("pr", "merge", str(number))
    assert merged.code == 0, merged.stderr
    assert "a + b" in (repository / "calc.py").read_text()
    assert answer("task", "message", attempt, "more").code == 1, "its work is merged"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("steer", "left"), 1, "has ended"),
        (("answer", "yes"), 1, "asks nothing"),
        (("pause",), 1, "has ended"),
        (("resume",), 1, "nothing to resume"),
        (("message", " "), 64, "Nothing was said"),
        (("fork", "--at", "99"), 64, "no finished step 99"),
        (("fork", "--at", "soon"), 64, "no step 'soon'"),
        (("fork", "--at", "1", "--network", "open"), 64, "only be changed at the start"),
        (("fork", "--at", "1", "--agent", "nobody"), 64, "no agent 'nobody'"),
        (("fork", "--at", "1", "--limits", "steps=none"), 64, "steps"),
        (("resume", "--more", "nothing=1"), 64, "nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    answer: Answer, done: dict[str, Any], words: tuple[str, ...], code: int, message: str
) -> None:
    verb, *rest = words
    ended = answer("task", verb, done["attempts"][0]["id"], *rest)
    assert ended.code == code, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def start_waiting(house: House, repository: Path, until: str) -> "subprocess.Popen[str]":
    """Start a run whose first action waits for the file `until` on the host; return once it is at it."""
    wait = f"echo waiting; until [ -e '{until}' ]; do sleep 0.05; done"
    model = stepping(house, [{"name": "shell", "arguments": {"command": wait}}], "waiting")
    answering(model, "go left", "Steered", MORE)
    process = house.start(
        "run", "Fix add", "--repo", str(repository), "--model", model, "--no-verify", "--json",
        "--sandbox", "none",
    )  # fmt: skip
    assert process.stderr is not None
    wait_for(process.stderr, "echo waiting")
    return process


def test_a_running_attempt_is_steered_from_another_process(house: House, repository: Path) -> None:
    go = house.root / "go"
    process = start_waiting(house, repository, str(go))
    (task,) = house.run("task", "list", "--json").json
    said = house.run("task", "steer", task["task"], "go left", "--json")
    assert said.code == 0, said.stderr
    assert (said.json["kind"], said.json["state"]) == ("steer", "pending")
    go.touch()
    out, errors = process.communicate(timeout=180)
    shown = json.loads(out)["attempts"][0]
    assert shown["patch"]["files"] == ["more.txt"], errors
    assert [(one["id"], one["state"]) for one in shown["commands"]] == [(said.json["id"], "accepted")]
    assert "accepted: steer go left" in errors


def test_a_running_attempt_is_paused_from_another_process(house: House, repository: Path) -> None:
    go = house.root / "go"
    process = start_waiting(house, repository, str(go))
    (task,) = house.run("task", "list", "--json").json
    paused = house.run("task", "pause", task["task"], "--json")
    assert paused.code == 0, paused.stderr
    assert paused.json["task"] == task["task"]
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 5, errors
    shown = json.loads(out)
    assert (shown["state"], shown["attempts"][0]["state"]) == ("open", "paused")
    text = house.run("task", "view", task["task"]).stdout
    assert f"overnight task resume {shown['attempts'][0]['id'][:8]}" in text
    assert "): paused\n" in text
    go.touch()
    ended = house.run("task", "resume", task["task"], "--json")
    assert ended.code == 3, ended.stderr
    kinds = [(one["kind"], one["state"]) for one in ended.json["attempts"][0]["commands"]]
    assert kinds == [("pause", "accepted"), ("resume", "accepted")]
