"""`overnight task`: what is kept of a task can be looked at, taken, refused, canceled and gone on with."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import CHECK, Answer, digest, patching, stepping
from tests.house import House, git, make_repository
from tests.processes import gone, wait_for

SLEEP = f"sleep 300.{os.getpid()}"
"""Told apart from the sleepers of other test runs on this machine."""
SLOW = {"name": "shell", "arguments": {"command": f"echo sleeping; {SLEEP}"}}


@pytest.fixture(scope="module")
def origin(place: Path) -> Path:
    return make_repository(place / "origin")


@pytest.fixture(scope="module")
def done(home: House, origin: Path) -> str:
    """Return a task that ended verified."""
    ended = home.run(
        "run", "Fix add", "--repo", str(origin), "--model", patching(home), "--check", CHECK, "--json"
    )
    assert ended.code == 0, ended.stderr
    return ended.json["task"]


def test_lists_and_views(answer: Answer, done: str) -> None:
    (listed,) = answer("task", "list", "--json").json
    assert listed["task"] == done
    for name in (done, done[:8]):
        shown = answer("task", "view", name, "--json").json
        assert [one.pop("plan") for one in shown["attempts"]] == [[]], "read from the log, for a view alone"
        assert shown == listed
    row = answer("task", "list").stdout
    assert done[:8] in row
    assert "verified" in row
    assert "origin" in row, "the repository's name"
    assert listed["repository"].endswith("/origin")
    text = answer("task", "view", done[:8]).stdout
    for part in ("calc.py (+1 -1)", "red → green", "overnight pr merge 1"):
        assert part in text
    assert answer("task", "list", "--state", "open", "--json").json == []


def test_logs_are_numbered_without_gaps(answer: Answer, done: str) -> None:
    lines = [json.loads(line) for line in answer("task", "logs", done, "--json").stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    kinds = [line["event"]["type"] for line in lines]
    assert kinds[0] == "attempt.started"
    assert kinds[-1] == "attempt.ended"
    assert {
        "file.changed",
        "checkpoint.created",
        "patch.ready",
        "verdict.reached",
        "pull_request.opened",
    } <= {*kinds}
    assert len({line["attempt"] for line in lines}) == 1
    tail = answer("task", "logs", done, "--json", "--after", str(len(lines) - 2)).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in tail] == [len(lines) - 1, len(lines)]
    followed = answer("task", "logs", done, "--json", "--follow").stdout.splitlines()
    assert len(followed) == len(lines)
    text = answer("task", "logs", done).stdout
    assert "M calc.py (+1 -1)" in text


def test_the_diff_applies(answer: Answer, done: str, repository: Path) -> None:
    patch = answer("task", "diff", done).stdout
    assert "+    return a + b" in patch
    subprocess.run(["git", "apply", "-"], cwd=repository, input=patch, text=True, check=True)
    assert "a + b" in (repository / "calc.py").read_text()


def test_apply_puts_the_patch_into_the_checkout(answer: Answer, done: str, repository: Path) -> None:
    (repository / "README.md").write_text("My own work.\n")
    ended = answer("task", "apply", done, "--repo", str(repository))
    assert ended.code == 0, ended.stderr
    assert "calc.py" in ended.stderr
    assert "a + b" in (repository / "calc.py").read_text()
    assert (repository / "README.md").read_text() == "My own work.\n"
    assert "calc.py" in git(repository, "status", "--porcelain")


def test_apply_refuses_to_overwrite_and_leaves_all_as_it_was(
    answer: Answer, done: str, repository: Path
) -> None:
    (repository / "calc.py").write_text("mine\n")
    before = digest(repository)
    ended = answer("task", "apply", done, "--repo", str(repository))
    assert ended.code == 1
    assert "calc.py" in ended.stderr
    assert digest(repository) == before


def test_checkout_switches_to_the_branch(answer: Answer, done: str, origin: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(origin), str(clone))
    ended = answer("task", "checkout", done, "--repo", str(clone))
    assert ended.code == 0, ended.stderr
    branch = answer("task", "view", done, "--json").json["pull_request"]["branch"]
    assert git(clone, "branch", "--show-current") == branch
    assert "a + b" in (clone / "calc.py").read_text()


def test_what_has_ended_is_neither_canceled_nor_resumed(answer: Answer, done: str) -> None:
    assert answer("task", "cancel", done).code == 1
    assert answer("task", "resume", done).code == 1
    assert answer("task", "view", done, "--json").json["state"] == "done"


def start(house: House, repository: Path, *more: str) -> "subprocess.Popen[str]":
    """Start a run whose command sleeps, and return once it does."""
    model = stepping(house, [SLOW], "sleeping")
    process = house.start(
        "run", "Fix add", "--repo", str(repository), "--model", model, "--check", CHECK, "--json", *more
    )
    assert process.stderr is not None
    wait_for(process.stderr, SLEEP)
    return process


def test_cancel_from_another_process(house: House, repository: Path) -> None:
    process = start(house, repository)
    (task,) = house.run("task", "list", "--json").json
    assert task["state"] == "open"
    assert house.run("task", "resume", task["task"]).code == 1, "a living process works on it"
    canceled = house.run("task", "cancel", task["task"], "--json")
    assert canceled.code == 0, canceled.stderr
    assert canceled.json["task"] == task["task"]
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 2, errors
    shown = json.loads(out)
    assert shown["state"] == "canceled"
    assert shown["attempts"][0]["state"] == "canceled"
    assert gone(SLEEP, str(house.root))


def test_cancel_reaches_queued_attempts(house: House, repository: Path) -> None:
    variables = house.environment | {"OVERNIGHT_ATTEMPTS_AT_ONCE": "1"}
    model = stepping(house, [SLOW], "sleeping")
    process = subprocess.Popen(
        house.command("run", "Fix", "--repo", str(repository), "--model", model, "--json", "--attempts", "3"),
        env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    wait_for(process.stderr, SLEEP)
    (task,) = house.run("task", "list", "--json").json
    assert house.run("task", "cancel", task["task"]).code == 0
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 2, errors
    assert [attempt["state"] for attempt in json.loads(out)["attempts"]] == ["canceled"] * 3


def test_the_waiting_ends_with_its_time(house: House, repository: Path) -> None:
    model = stepping(house, [SLOW], "sleeping")
    ended = house.run(
        "run",
        "Fix add",
        "--repo",
        str(repository),
        "--model",
        model,
        "--check",
        CHECK,
        "--json",
        "--wait",
        "3s",
    )
    assert ended.code == 124
    assert ended.json["state"] == "open"
    assert "overnight task resume" in ended.stderr
    assert gone(SLEEP, str(house.root))


def test_an_interrupt_stops_cleanly_and_can_go_on(house: House, repository: Path) -> None:
    process = start(house, repository)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 130, errors
    shown = json.loads(out)
    assert shown["state"] == "open"
    assert f"overnight task resume {shown['task'][:8]}" in errors
    assert "Traceback" not in errors
    assert gone(SLEEP, str(house.root))
    assert "working, stopped" in house.run("task", "list").stdout
    assert "working, stopped" in house.run("task", "view", shown["task"]).stdout
    # The model changes its mind: the sleeper's script is written anew under the same name.
    patching(house, name="sleeping")
    ended = house.run("task", "resume", shown["task"], "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["attempts"][0]["verdict"]["verified"] is True
    assert "taken up again" in ended.stderr
