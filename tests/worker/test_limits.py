"""Limits of an attempt: each that is reached is an event with its name, and the attempt goes on or ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHECK, Answer, stepping
from tests.house import BUGGY, FIX, Ended, House, make_repository


def attempt(
    answer: Answer, house: House, repository: Path, command: dict[str, Any], *more: str
) -> tuple[Ended, list[Any]]:
    """Run one shell call and then the fix; return how it ended and the events."""
    calls = [
        {"name": "shell", "arguments": command},
        {"name": "apply_patch", "arguments": {"patch": FIX}},
    ]
    model = stepping(house, calls, "limits")
    ended = answer(
        "run", "Fix add", "--repo", str(repository), "--model", model, "--check", CHECK, "--json", *more
    )
    lines = answer("task", "logs", ended.json["task"], "--json").stdout.splitlines()
    return ended, [json.loads(line)["event"] for line in lines]


def hits(events: list[Any]) -> list[str]:
    return [event["limit"] for event in events if event["type"] == "limit.hit"]


@pytest.mark.parametrize(
    ("command", "limit", "options"),
    [
        ({"command": "sleep 60", "timeout_seconds": 1}, "command_seconds", ()),
        (
            {"command": "python3 -c 'x = bytearray(700_000_000); print(len(x))'"},
            "memory_bytes",
            ("--memory", "256m"),
        ),
        ({"command": "yes"}, "output_bytes", ()),
    ],
)
def test_a_command_over_a_limit_is_an_event_and_the_work_goes_on(
    answer: Answer, house: House, buggy: Path, command: dict[str, Any], limit: str, options: tuple[str, ...]
) -> None:
    ended, events = attempt(answer, house, buggy, command, *options)
    assert limit in hits(events), ended.stderr
    assert limit in ended.stderr
    assert ended.code == 0, ended.stderr


def test_at_the_time_of_an_attempt_it_waits_for_a_person(answer: Answer, house: House, buggy: Path) -> None:
    ended, events = attempt(answer, house, buggy, {"command": "sleep 50"}, "--limit", "2s")
    assert ended.code == 5
    assert hits(events) == ["command_seconds", "attempt_seconds"]
    (shown,) = ended.json["attempts"]
    assert shown["state"] == "paused"
    assert "paused at the limit attempt_seconds" in ended.stderr


def test_output_beyond_the_limit_never_reaches_the_log(answer: Answer, house: House, buggy: Path) -> None:
    _, events = attempt(answer, house, buggy, {"command": "head -c 20000000 /dev/zero | tr '\\0' x"})
    printed = sum(len(event["text"]) for event in events if event["type"] == "command.output")
    assert printed <= 8 * 1024**2
    (told,) = [
        event["message"]["text"]
        for event in events
        if event["type"] == "message.added"
        and event["message"]["role"] == "tool"
        and "exit code" in event["message"]["text"]
    ]
    assert len(told) < 12_000
    assert "left out" in told


def own(tmp_path: Path, limits: str) -> Path:
    """Return a buggy repository that sets limits of its own."""
    return make_repository(tmp_path / "own", {**BUGGY, ".overnight.toml": f"[limits]\n{limits}"})


def test_a_repository_lowers_a_limit_and_cannot_raise_one(
    answer: Answer, house: House, tmp_path: Path
) -> None:
    repository = own(tmp_path, 'command_seconds = "2s"\nmemory_bytes = "900g"\n')
    ended, events = attempt(answer, house, repository, {"command": "sleep 500", "timeout_seconds": 400})
    assert "command_seconds" in hits(events), ended.stderr
    (blocked,) = [event for event in events if event["type"] == "policy.blocked"]
    assert blocked["what"] == "limits"
    assert "memory_bytes" in blocked["detail"]
    assert "not applied" in blocked["detail"]


def test_limits_by_name_and_by_variable(answer: Answer, house: House, buggy: Path) -> None:
    sleep = {"command": "sleep 500", "timeout_seconds": 400}
    _, events = attempt(answer, house, buggy, sleep, "--limits", "command_seconds=2s,processes=100")
    assert "command_seconds" in hits(events)
    told = answer(
        "env", "exec", "--repo", str(buggy), "--", "sleep", "500", OVERNIGHT_LIMITS="command_seconds=1"
    )
    assert "command_seconds" in told.stderr


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--limits", "memory=2g"), "memory_bytes"),
        (("--limits", "memory_bytes=2g", "--memory", "1g"), "twice"),
        (("--memory", "lots"), "--memory"),
    ],
)
def test_wrong_limits_are_told_before_anything_starts(
    answer: Answer, buggy: Path, options: tuple[str, ...], part: str
) -> None:
    ended = answer("run", "Fix add", "--repo", str(buggy), *options)
    assert (ended.code, ended.stdout) == (64, "")
    assert part in ended.stderr


def test_what_ends_nothing_that_is_waited_for_is_an_event_too(
    answer: Answer, house: House, buggy: Path
) -> None:
    # Each reading of the pipe is more than a second's share, however slow the machine is.
    flood = {"command": "head -c 300000 /dev/zero"}
    _, events = attempt(answer, house, buggy, flood, "--limits", "output_bytes_per_second=50k")
    slowed = [event for event in events if event["type"] == "limit.hit"]
    assert [event["limit"] for event in slowed] == ["output_bytes_per_second", "result_characters"]
    assert "slowed down" in slowed[0]["detail"]
    _, events = attempt(answer, house, buggy, flood)
    assert hits(events) == ["result_characters"]
