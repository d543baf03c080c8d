"""Services in an attempt: there for the agent and for every check, and no part of the patch."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Answer, stepping
from tests.cli.test_env_build import ASK, SERVER
from tests.house import BUGGY, FIX, House, make_repository

OWN = """
checks = ["python3 ask.py && grep -q 'return a + b' calc.py"]
start = ["echo migrated > migrated.txt; echo '{}' >> data.json"]

[services.web]
command = "python3 server.py"
ready = "python3 ask.py"
seconds = 120
"""


def test_an_attempt_has_its_services_and_keeps_what_they_wrote_out_of_the_patch(
    answer: Answer, house: House, tmp_path: Path
) -> None:
    files = {**BUGGY, ".overnight.toml": OWN, "server.py": SERVER, "ask.py": ASK, "data.json": "[]\n"}
    repository = make_repository(tmp_path / "served", files)
    tried = answer("env", "exec", "--repo", str(repository), "--", "python3", "ask.py")
    if "services are not started" in tried.stderr:
        pytest.skip("no sandbox of this machine lasts from command to command")
    assert tried.stdout == "hello from the service\n", tried.stderr
    calls = [
        {"name": "shell", "arguments": {"command": "python3 ask.py > asked.txt; cat migrated.txt"}},
        {"name": "apply_patch", "arguments": {"patch": FIX}},
    ]
    model = stepping(house, calls, "served")
    ended = answer("run", "Fix add", "--repo", str(repository), "--model", model, "--json")
    assert ended.code == 0, ended.stderr
    (attempt,) = ended.json["attempts"]
    assert sorted(attempt["patch"]["files"]) == ["asked.txt", "calc.py"]
    assert "(service web, start command 1) and could forge its exit code" in attempt["verdict"]["reason"]
    body = answer("pr", "view", str(ended.json["pull_request"]["number"])).stdout
    assert "Ran beside the checks, as the base commit says" in body
    lines = answer("task", "logs", ended.json["task"], "--json").stdout.splitlines()
    events = [json.loads(line)["event"] for line in lines]
    started = [event["command_id"] for event in events if event.get("purpose") == "service"]
    ended_ids = [event["command_id"] for event in events if event["type"] == "command.ended"]
    # One for the agent, one for each clean room.
    assert len(started) >= 3
    assert set(started) <= set(ended_ids)


def test_services_of_a_clean_room_are_the_base_commits_whatever_the_patch_says(
    answer: Answer, house: House, tmp_path: Path
) -> None:
    own = 'checks = ["grep -q \'return a + b\' calc.py"]\nstart = ["echo of-the-base"]\n'
    repository = make_repository(tmp_path / "changed", {**BUGGY, ".overnight.toml": own})
    calls = [
        {"name": "apply_patch", "arguments": {"patch": FIX}},
        {"name": "shell", "arguments": {"command": "sed -i s/of-the-base/of-the-patch/ .overnight.toml"}},
    ]
    for allow in ((), ("--allow-test-changes",)):
        model = stepping(house, calls, "changed")
        ended = answer("run", "Fix add", "--repo", str(repository), "--model", model, "--json", *allow)
        (attempt,) = ended.json["attempts"]
        assert "patch: .overnight.toml, calc.py" in ended.stderr
        assert attempt["patch"]["files"] == [*([".overnight.toml"] if allow else []), "calc.py"]
        lines = answer("task", "logs", ended.json["task"], "--json").stdout.splitlines()
        events = [json.loads(line)["event"] for line in lines]
        starts = [event["command"] for event in events if event.get("purpose") == "start"]
        assert len(starts) >= 2  # runs on the base are kept
        assert set(starts) == {"echo of-the-base"}, "neither for the agent nor for a check"


def test_a_service_that_does_not_come_up_fails_the_attempt_by_name(
    answer: Answer, house: House, tmp_path: Path
) -> None:
    own = '[services.db]\ncommand = "echo no such database >&2; exit 5"\nready = "false"\nseconds = 120\n'
    repository = make_repository(tmp_path / "broken", {**BUGGY, ".overnight.toml": own})
    ended = answer(
        "run",
        "Fix add",
        "--repo",
        str(repository),
        "--model",
        house.fixing_script(),
        "--sandbox",
        "none",
        "--json",
    )
    assert ended.code == 3, ended.stderr
    (attempt,) = ended.json["attempts"]
    assert attempt["state"] == "failed"
    assert "'db' ended before it was ready (exit 5)" in attempt["message"]
    assert "no such database" in attempt["message"]
