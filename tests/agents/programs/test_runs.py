"""A program of the table through the command line, in the real sandbox; a small one stands in for Codex."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.agents.programs.desk import STAND_IN, put_in_place
from tests.house import CHECK, Ended, House, make_repository

ANSWERS: list[dict[str, Any]] = [
    {"text": "I look.", "tool_calls": [{"name": "sh", "arguments": {"cmd": "cat calc.py; env; ls -la ~"}}]},
    {
        "text": "I mend.",
        "tool_calls": [{"name": "sh", "arguments": {"cmd": "sed -i 's/a - b/a + b/' calc.py"}}],
    },
    {"text": "add() adds now."},
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


def install(house: House, source: Path = STAND_IN) -> None:
    put_in_place(house.root / "cache" / "agents", source)


def run(house: House, repository: Path, *arguments: str, key: str = "") -> Ended:
    model = house.script(ANSWERS)
    words = ("run", "add subtracts", "--repo", str(repository), "--check", CHECK, "--agent", "codex")
    return house.run(*words, "--model", model, *arguments, OPENAI_API_KEY=key)


def log(house: House, task: str) -> list[dict[str, Any]]:
    lines = house.run("task", "logs", task, "--json").stdout.splitlines()
    return [json.loads(line)["event"] for line in lines]


@pytest.mark.parametrize("granted", [(), ("--allow", "api.example.org")], ids=["no network", "some network"])
def test_a_program_works_to_a_verified_patch(
    house: House, repository: Path, granted: tuple[str, ...]
) -> None:
    install(house)
    ended = run(house, repository, "--json", *granted, key="sk-never-inside-0123456789")
    assert ended.code == 0, ended.stderr
    attempt = ended.json["attempts"][0]
    assert attempt["verdict"]["finding"] == "verified"
    assert attempt["usage"]["model_calls"] == 3
    assert attempt["blocked"] == []
    events = log(house, ended.json["task"])
    kinds = [event["type"] for event in events]
    assert kinds.count("step.ended") == 3
    roles = [event["message"]["role"] for event in events if event["type"] == "message.added"]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    seen = json.dumps(events)
    assert "sk-never-inside" not in seen
    assert str(house.root) not in next(
        event["message"]["text"] for event in events
        if event["type"] == "message.added" and event["message"]["role"] == "tool"
    )  # fmt: skip
    assert not any(event["type"] == "network.allowed" for event in events)


def test_a_program_stops_at_a_limit_and_what_it_did_is_kept(house: House, repository: Path) -> None:
    install(house)
    ended = run(house, repository, "--limits", "steps=1")
    events = log(house, house.run("task", "list", "--json").json[0]["task"])
    assert ended.code != 0
    assert [event["limit"] for event in events if event["type"] == "limit.hit"] == ["steps"]
    assert [event["type"] for event in events].count("step.ended") == 1


def test_a_fork_goes_on_with_the_session_as_it_was_and_a_later_turn_with_the_last_one(
    house: House, repository: Path
) -> None:
    install(house)
    first = run(house, repository, "--json").json
    task, origin = first["task"], first["attempts"][0]["id"]
    forked = house.run("task", "fork", origin, "--at", "1", "--json")
    assert forked.code == 0, forked.stderr
    shown = house.run("task", "view", task, "--json").json["attempts"]
    assert [(one["forked_from"] is None, one.get("resumed")) for one in shown] == [
        (True, None),
        (False, "native"),
    ]
    assert shown[1]["verdict"]["finding"] == "verified"
    assert "after step 1, native" in house.run("task", "view", task).stdout
    # Sessions that nobody can go on from any more go with the checkpoints; those that somebody can stay.
    assert house.run("prune").code == 0
    later = house.run("task", "message", origin, "And say why.", "--json")
    assert later.code == 0, later.stderr
    shown = house.run("task", "view", task, "--json").json["attempts"]
    assert [(one["turn"], one.get("resumed")) for one in shown] == [(2, "native"), (1, "native")]


def test_a_program_that_is_not_installed_is_refused_before_anything_begins(
    house: House, repository: Path
) -> None:
    ended = run(house, repository)
    assert ended.code == 64
    assert "overnight agent install codex" in ended.stderr
    assert house.run("task", "list", "--json").json == []


def test_the_list_says_what_can_be_used(house: House) -> None:
    install(house)
    listed = {one["name"]: one for one in house.run("agent", "list", "--json").json}
    assert listed["loop"]["source"] == "built in"
    assert listed["codex"]["installed"]
    assert not listed["claude-code"]["installed"]
    assert "overnight agent install claude-code" in house.run("agent", "list").stdout


def test_the_doctor_runs_a_program_against_a_model(house: House, tmp_path: Path) -> None:
    install(house)
    ended = house.run("agent", "doctor", "--json")
    assert ended.code == 0, ended.stderr
    assert [(one["name"], one["works"], one["version"]) for one in ended.json] == [
        ("codex", True, "stand-in 1.0")
    ]


def test_the_doctor_says_what_a_program_printed_that_never_asked(house: House, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho some library is missing >&2\nexit 3\n")
    install(house, broken)
    ended = house.run("agent", "doctor", "codex")
    assert ended.code == 1
    assert "some library is missing" in ended.stdout


def test_the_doctor_names_agents_that_are_none(house: House) -> None:
    ended = house.run("agent", "doctor", "codec")
    assert ended.code == 64
    assert "codex" in ended.stderr
