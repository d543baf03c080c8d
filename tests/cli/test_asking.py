"""`loop` and its people, end to end: its plan is shown, its question waits, its budget can be raised."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHECK, Answer, stepping
from tests.house import FIX, House

PLAN = {"steps": [{"text": "look", "state": "done"}, {"text": "mend add", "state": "doing"}]}
CALLS: list[dict[str, Any]] = [
    {"name": "plan", "arguments": PLAN},
    {"name": "ask", "arguments": {"question": "Add or subtract?", "choices": ["add", "subtract"]}},
    {"name": "apply_patch", "arguments": {"patch": FIX}},
]


@pytest.fixture
def begun(answer: Answer, home: House, repository: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return a task whose agent asked a person."""
    model = stepping(home, CALLS, request.node.name)
    ended = answer("run", "Mend it", "--repo", str(repository), "--model", model, "--check", CHECK, "--json")
    assert ended.code == 5, ended.stderr
    assert "Add or subtract?" in ended.stderr
    return ended.json


def test_a_task_that_asks_nothing_takes_no_answer(answer: Answer, home: House, repository: Path) -> None:
    model = stepping(home, CALLS[2:], "silent")
    ended = answer("run", "Mend it", "--repo", str(repository), "--model", model, "--check", CHECK, "--json")
    assert ended.code == 0, ended.stderr
    refused = answer("task", "answer", ended.json["task"], "add")
    assert refused.code == 1
    assert "asks nothing" in refused.stderr
    assert "overnight task message" in refused.stderr


def test_a_question_waits_and_its_answer_goes_on(answer: Answer, begun: dict[str, Any]) -> None:
    assert begun["attempts"][0]["state"] == "needs_input"
    shown = answer("task", "view", begun["task"]).stdout
    assert "[x] look\n" in shown
    assert "[>] mend add\n" in shown
    assert answer("task", "view", begun["task"], "--json").json["attempts"][0]["plan"] == PLAN["steps"]
    ended = answer("task", "answer", begun["task"][:8], "add", "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["attempts"][0]["verdict"]["verified"]
    log = answer("task", "logs", begun["task"]).stdout
    assert "plan:\n" in log
    assert "asks: Add or subtract?" in log


def test_at_a_budget_it_waits_until_a_person_raises_it(answer: Answer, home: House, repository: Path) -> None:
    calls = [{"name": "read", "arguments": {"path": "calc.py"}}, CALLS[2]]
    model = stepping(home, calls, "budget")
    run = ("run", "Mend it", "--repo", str(repository), "--model", model, "--check", CHECK, "--json")
    ended = answer(*run, "--limits", "steps=1")
    assert ended.code == 5, ended.stderr
    assert ended.json["attempts"][0]["state"] == "paused"
    assert "limit reached: steps 1 of 1" in ended.stderr
    again = answer("task", "resume", ended.json["task"][:8], "--more", "steps=20", "--json")
    assert again.code == 0, again.stderr
    assert again.json["attempts"][0]["verdict"]["verified"]
