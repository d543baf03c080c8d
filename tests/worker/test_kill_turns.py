"""kill -9 while a turn, a fork or a steered run goes on: told once, one commit, one pull request."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHECK, Answer
from tests.cli.test_talk import following
from tests.house import House, git
from tests.processes import gone
from tests.worker.test_kill import events_of


def killed_after(house: House, count: int, *words: str) -> list[str]:
    """Start a command, kill it once it showed `count` lines (or ended); return all that it showed."""
    process = subprocess.Popen(
        house.command(*words),
        env=house.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    shown: list[str] = []
    while len(shown) < count and (line := process.stderr.readline()):
        shown.append(line.rstrip("\n"))
    os.kill(process.pid, signal.SIGKILL)
    shown += [line.rstrip("\n") for line in process.stderr]
    process.wait(60)
    process.stderr.close()
    return shown


def ended_task(house: House, answer: Answer, repository: Path) -> dict[str, Any]:
    """Return a task that ended verified, with its pull request, whose base has moved since."""
    ended = answer(
        "run", "Fix add", "--repo", str(repository), "--model", following(house), "--check", CHECK, "--json"
    )
    assert ended.code == 0, ended.stderr
    (repository / "README.md").write_text("Moved on.\n")
    git(repository, "commit", "-qam", "move")
    return ended.json


def kinds_of(answer: Answer, attempt: str) -> list[str]:
    return [item["event"]["type"] for item in events_of(answer, attempt)]


def finish(answer: Answer, task: str) -> dict[str, Any]:
    """Go on with the task if it has not ended, and return how it stands."""
    view = answer("task", "view", task, "--json").json
    resumed = answer("task", "resume", task)
    assert resumed.code in (0, 1), resumed.stderr
    assert view["state"] == "done" or resumed.code == 0, resumed.stderr
    return answer("task", "view", task, "--json").json


def check_turn(house: House, answer: Answer, repository: Path, count: int) -> None:
    """Kill a follow-up with a moved base after `count` lines; see that it comes to the same end, once."""
    task = ended_task(house, answer, repository)
    attempt = task["attempts"][0]["id"]
    killed_after(house, count, "task", "message", attempt, "Please do more", "--update-base")
    if answer("task", "view", attempt, "--json").json["attempts"][0]["turn"] == 1:
        assert answer("task", "message", attempt, "Please do more", "--update-base").code == 0
    shown = finish(answer, task["task"])
    (one,) = shown["attempts"]
    assert [turn["state"] for turn in one["turns"]] == ["succeeded", "succeeded"]
    assert [(said["kind"], said["state"]) for said in one["commands"]] == [("message", "accepted")]
    kinds = kinds_of(answer, attempt)
    for event, times in (
        ("turn.started", 1),
        ("attempt.ended", 2),
        ("pull_request.opened", 1),
        ("pull_request.updated", 1),
    ):
        assert kinds.count(event) == times, event
    log = events_of(answer, attempt)
    assert [item["seq"] for item in log] == list(range(1, len(log) + 1))
    assert "+more\n" in answer("task", "diff", attempt).stdout
    assert answer("task", "diff", attempt).stdout.count("+more\n") == 1, "its step is done once"
    (request,) = answer("pr", "list", "--json").json
    assert request["commit"] == one["patch"]["commit"]
    assert request["base_commit"] == git(repository, "rev-parse", "HEAD")
    assert answer("pr", "merge", str(request["number"])).code == 0, "the branch stands where it says"
    assert gone(str(house.root))


def check_fork(house: House, answer: Answer, repository: Path, count: int) -> None:
    """Kill a fork after `count` lines; see that one fork was made, or none, and ends as it would have."""
    task = ended_task(house, answer, repository)
    attempt = task["attempts"][0]["id"]
    words = ("task", "fork", attempt, "--at", "1", "--message", "Please do more")
    shown = killed_after(house, count, *words)
    made = answer("task", "view", attempt, "--json").json["attempts"][1:]
    if not made:
        assert not any("Forked" in line for line in shown), "what was shown must be stored"
        return
    (fork,) = made
    finish(answer, task["task"])
    (_, fork) = answer("task", "view", attempt, "--json").json["attempts"]
    assert fork["state"] == "succeeded"
    assert fork["forked_from"] == {"attempt": attempt, "step": 1}
    assert fork["patch"]["files"] == ["calc.py", "more.txt"]
    kinds = kinds_of(answer, fork["id"])
    assert [kinds.count(kind) for kind in ("attempt.forked", "command.accepted", "attempt.ended")] == [
        1,
        1,
        1,
    ]
    said = [
        item["event"]["message"]["text"]
        for item in events_of(answer, fork["id"])
        if item["event"]["type"] == "message.added" and item["event"].get("command_id")
    ]
    assert set(said) == {"Please do more"}


def test_a_killed_follow_up_is_gone_on_with(house: House, answer: Answer, buggy: Path) -> None:
    check_turn(house, answer, buggy, 5)


def test_a_killed_fork_is_gone_on_with(house: House, answer: Answer, buggy: Path) -> None:
    check_fork(house, answer, buggy, 5)


@pytest.mark.full
@pytest.mark.parametrize("count", range(1, 20))
def test_a_follow_up_killed_at_any_moment(house: House, answer: Answer, buggy: Path, count: int) -> None:
    check_turn(house, answer, buggy, count)


@pytest.mark.full
@pytest.mark.parametrize("count", range(1, 16))
def test_a_fork_killed_at_any_moment(house: House, answer: Answer, buggy: Path, count: int) -> None:
    check_fork(house, answer, buggy, count)


def test_a_killed_run_that_was_told_to_pause_and_steered(house: House, answer: Answer, buggy: Path) -> None:
    """Nobody lives to accept the pause; whoever resumes has changed their mind, and the steer is told."""
    killed_after(
        house, 8, "run", "Fix add", "--repo", str(buggy), "--model", following(house), "--check", CHECK
    )
    (task,) = answer("task", "list", "--json").json
    if task["state"] != "open":
        return
    said = answer("task", "steer", task["task"], "Please do more", "--json").json
    assert "Nobody works on it now" in answer("task", "steer", task["task"], "Also this").stderr
    assert answer("task", "pause", task["task"]).code == 0
    view = answer("task", "view", task["task"], "--json").json
    assert (view["state"], view["attempts"][0]["state"]) == ("open", "paused")
    assert answer("task", "resume", task["task"]).code == 0
    shown = answer("task", "view", task["task"], "--json").json["attempts"][0]
    assert shown["patch"]["files"] == ["calc.py", "more.txt"]
    assert [(one["kind"], one["state"]) for one in shown["commands"]] == [
        ("steer", "accepted"), ("steer", "accepted"), ("pause", "accepted"), ("resume", "accepted"),
    ]  # fmt: skip
    log = events_of(answer, task["task"])
    accepted = [item["event"] for item in log if item["event"]["type"] == "command.accepted"]
    assert [one["command_id"] for one in accepted].count(said["id"]) == 1
    assert json.dumps(log).count('"attempt.waiting"') == 1
