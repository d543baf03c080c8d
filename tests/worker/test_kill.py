"""kill -9 of `overnight run`: nothing that was shown is lost, and another process goes on to the same end."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHECK, stepping
from tests.house import FIX, House, make_repository
from tests.processes import gone


def work_script(house: House) -> str:
    """Return a model that looks, edits, waits a moment and hands back; every step leaves its mark."""
    calls = [
        {"name": "shell", "arguments": {"command": "echo looking; sleep 0.2; echo mark >> marks.txt; ls"}},
        {"name": "apply_patch", "arguments": {"patch": FIX}},
        {"name": "shell", "arguments": {"command": "sleep 0.2; echo mark >> marks.txt; cat calc.py"}},
    ]
    return stepping(house, calls, "working")


def events_of(house: House, task: str) -> list[dict[str, Any]]:
    lines = house.run("task", "logs", task, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def kill_after(house: House, repository: Path, count: int) -> list[str]:
    """Start a run, kill it once `count` lines of progress were shown (or it ended); return those lines."""
    model = work_script(house)
    process = subprocess.Popen(
        house.command("run", "Fix add", "--repo", str(repository), "--model", model, "--check", CHECK),
        env=house.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    shown: list[str] = []
    while len(shown) < count and (line := process.stderr.readline()):
        shown.append(line.rstrip("\n"))
    os.kill(process.pid, signal.SIGKILL)
    shown += [line.rstrip("\n") for line in process.stderr]
    process.wait(30)
    process.stderr.close()
    return shown


def check_recovery(house: House, repository: Path, count: int) -> None:
    """Kill after `count` lines, then see that the log holds them and that a resume ends well."""
    shown = kill_after(house, repository, count)
    tasks = house.run("task", "list", "--json").json
    if not tasks:
        assert not any(line.startswith("Task ") for line in shown), "what was shown must be stored"
        return
    task = tasks[0]["task"]
    before = events_of(house, task)
    logged = house.run("task", "logs", task).stdout
    for line in shown:
        # Lines before the first event are about the task, not from its log.
        if not line.startswith(("Task ", "note: ", "Using ")):
            assert line.strip() in logged, f"shown but not in the log: {line!r}"

    if tasks[0]["state"] == "open":
        ended = house.run("task", "resume", task, "--json")
        assert ended.code == 0, ended.stderr
    view = house.run("task", "view", task, "--json").json
    assert (view["state"], view["attempts"][0]["state"]) == ("done", "succeeded")
    assert view["attempts"][0]["verdict"]["verified"] is True
    assert len(house.run("pr", "list", "--json").json) == 1

    after = events_of(house, task)
    assert after[: len(before)] == before, "the log only grows"
    assert [item["seq"] for item in after] == list(range(1, len(after) + 1))
    kinds = [item["event"]["type"] for item in after]
    for once in ("attempt.ended", "pull_request.opened"):
        assert kinds.count(once) == 1
    steps = [item["event"]["step"] for item in after if item["event"]["type"] == "step.ended"]
    assert steps == sorted(set(steps)), "no finished step is done twice"
    patch = house.run("task", "diff", task).stdout
    assert patch.count("+mark\n") == 2, "the files are those of the finished steps"

    assert gone(str(house.root))
    assert house.run("prune").code == 0
    assert [path for path in (house.root / "data" / "workspaces").iterdir() if path.is_dir()] == []
    assert str(house.root) not in Path("/proc/mounts").read_text()


def test_a_killed_run_is_gone_on_with(house: House, buggy: Path) -> None:
    check_recovery(house, buggy, 12)


@pytest.mark.full
@pytest.mark.parametrize(
    "count", [1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 30]
)
def test_a_run_killed_at_any_moment_is_gone_on_with(house: House, buggy: Path, count: int) -> None:
    check_recovery(house, buggy, count)


@pytest.mark.full
def test_a_run_killed_again_and_again_comes_to_its_end(house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    kill_after(house, repository, 6)
    task = house.run("task", "list", "--json").json[0]["task"]
    for count in (3, 4, 5, 6, 8):
        process = subprocess.Popen(
            house.command("task", "resume", task), env=house.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        for _ in range(count):
            process.stderr.readline()
        process.kill()
        process.communicate(timeout=30)
    if house.run("task", "view", task, "--json").json["state"] == "open":
        assert house.run("task", "resume", task).code == 0
    kinds = [item["event"]["type"] for item in events_of(house, task)]
    assert kinds.count("pull_request.opened") == 1
    assert len(house.run("pr", "list", "--json").json) == 1


def test_a_cancel_of_a_killed_run_ends_it_at_once(house: House, buggy: Path) -> None:
    kill_after(house, buggy, 6)
    task = house.run("task", "list", "--json").json[0]["task"]
    assert house.run("task", "cancel", task).code == 0
    view = house.run("task", "view", task, "--json").json
    assert (view["state"], view["attempts"][0]["state"]) == ("canceled", "canceled")
    assert house.run("task", "resume", task).code == 1
