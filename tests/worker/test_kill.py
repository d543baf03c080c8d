"""kill -9 of `overnight run`: nothing that was shown is lost, and another process goes on to the same end."""

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from overnight.store.database import Database
from overnight.store.schema import jobs
from tests.cli.conftest import CHECK, Answer, stepping
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


def events_of(answer: Answer, task: str) -> list[dict[str, Any]]:
    lines = answer("task", "logs", task, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def emptied(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events with the texts of deltas left out: a turn that is over has them in its messages alone."""
    return [
        {**item, "event": {**item["event"], "text": ""}} if item["event"]["type"] == "message.delta" else item
        for item in events
    ]


def kill_after(house: House, repository: Path, count: int, delay: float = 0.0) -> list[str]:
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
    time.sleep(delay)  # Not a wait for anything: it spreads the kills between two lines.
    os.kill(process.pid, signal.SIGKILL)
    shown += [line.rstrip("\n") for line in process.stderr]
    process.wait(30)
    process.stderr.close()
    return shown


def check_recovery(house: House, answer: Answer, repository: Path, count: int, delay: float = 0.0) -> None:
    """Kill after `count` lines, then see that the log holds them and that a resume ends well."""
    shown = kill_after(house, repository, count, delay)
    tasks = answer("task", "list", "--json").json
    if not tasks:
        assert not any(line.startswith("Task ") for line in shown), "what was shown must be stored"
        return
    task = tasks[0]["task"]
    before = events_of(answer, task)
    logged = answer("task", "logs", task).stdout
    for line in shown:
        # Lines before the first event are about the task, not from its log.
        if not line.startswith(("Task ", "note: ", "Using ")):
            assert line.strip() in logged, f"shown but not in the log: {line!r}"

    if tasks[0]["state"] == "open":
        ended = answer("task", "resume", task, "--json")
        assert ended.code == 0, ended.stderr
    view = answer("task", "view", task, "--json").json
    assert (view["state"], view["attempts"][0]["state"]) == ("done", "succeeded")
    assert view["attempts"][0]["verdict"]["verified"] is True
    assert len(answer("pr", "list", "--json").json) == 1

    after = events_of(answer, task)
    assert emptied(after[: len(before)]) == emptied(before), "the log only grows"
    assert [item["seq"] for item in after] == list(range(1, len(after) + 1))
    kinds = [item["event"]["type"] for item in after]
    for once in ("attempt.ended", "pull_request.opened"):
        assert kinds.count(once) == 1
    steps = [item["event"]["step"] for item in after if item["event"]["type"] == "step.ended"]
    assert steps == sorted(set(steps)), "no finished step is done twice"
    patch = answer("task", "diff", task).stdout
    assert patch.count("+mark\n") == 2, "the files are those of the finished steps"

    assert gone(str(house.root))
    assert answer("prune").code == 0
    assert [path for path in (house.root / "data" / "workspaces").iterdir() if path.is_dir()] == []
    assert str(house.root) not in Path("/proc/mounts").read_text()


def test_a_killed_run_is_gone_on_with(house: House, answer: Answer, buggy: Path) -> None:
    check_recovery(house, answer, buggy, 12)


async def _unfinish(path: Path) -> None:
    """Make the last job look as if its worker had been killed right before it finished it."""
    database = await Database.open(path)
    open_again = update(jobs).values(state="running", owner="box:1:1", lease_until=0.0)
    await database.tx(lambda connection: connection.execute(open_again))
    await database.close()


def test_a_worker_killed_after_the_last_event_leaves_nothing_to_repeat(
    house: House, answer: Answer, buggy: Path
) -> None:
    model = work_script(house)
    ended = answer("run", "Fix add", "--repo", str(buggy), "--model", model, "--check", CHECK, "--json")
    assert ended.code == 0, ended.stderr
    task = ended.json["task"]
    before = events_of(answer, task)
    asyncio.run(_unfinish(house.root / "data" / "overnight.db"))
    resumed = answer("task", "resume", task, "--json")
    assert resumed.code == 0, resumed.stderr
    assert resumed.json == ended.json
    assert events_of(answer, task) == before
    assert answer("task", "resume", task).code == 1, "now it is finished"


@pytest.mark.full
@pytest.mark.parametrize(
    "count", [1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 30]
)
def test_a_run_killed_at_any_moment_is_gone_on_with(
    house: House, answer: Answer, buggy: Path, count: int
) -> None:
    check_recovery(house, answer, buggy, count)


@pytest.mark.full
@pytest.mark.parametrize("delay", [number * 0.01 for number in range(16)])
def test_a_run_killed_while_it_ends_is_gone_on_with(
    house: House, answer: Answer, buggy: Path, delay: float
) -> None:
    check_recovery(house, answer, buggy, 23, delay)


@pytest.mark.full
def test_a_run_killed_again_and_again_comes_to_its_end(house: House, answer: Answer, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    kill_after(house, repository, 6)
    task = answer("task", "list", "--json").json[0]["task"]
    for count in (3, 4, 5, 6, 8):
        process = subprocess.Popen(
            house.command("task", "resume", task), env=house.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        for _ in range(count):
            process.stderr.readline()
        process.kill()
        process.communicate(timeout=180)
    if answer("task", "view", task, "--json").json["state"] == "open":
        assert answer("task", "resume", task).code == 0
    kinds = [item["event"]["type"] for item in events_of(answer, task)]
    assert kinds.count("pull_request.opened") == 1
    assert len(answer("pr", "list", "--json").json) == 1


def test_a_cancel_of_a_killed_run_ends_it_at_once(house: House, answer: Answer, buggy: Path) -> None:
    kill_after(house, buggy, 6)
    task = answer("task", "list", "--json").json[0]["task"]
    assert answer("task", "cancel", task).code == 0
    view = answer("task", "view", task, "--json").json
    assert (view["state"], view["attempts"][0]["state"]) == ("canceled", "canceled")
    assert answer("task", "resume", task).code == 1
