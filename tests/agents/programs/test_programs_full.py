"""The real programs, installed from their packages at the pinned versions, each to a verified patch."""

import json
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from overnight.models.model_file import QWEN_CODER
from tests.house import CHECK, House, make_repository

pytestmark = pytest.mark.full

SHELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "codex": ("exec_command", {"cmd": "{}"}),
    "claude-code": ("Bash", {"command": "{}", "description": "work"}),
    "opencode": ("bash", {"command": "{}", "description": "work"}),
    "mini-swe-agent": ("bash", {"command": "{}"}),
}
"""How each calls its shell."""
RESUMED = {"mini-swe-agent": "replayed"}
"""How forks go on where it is not by the program's own session."""
WORK = ("cat calc.py", "sed -i 's/a - b/a + b/' calc.py && python3 -m unittest -q")
END = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""How mini-swe-agent is told to end, which has no other word for it."""


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house that shares installed programs, and the embedded model, with all others."""
    shared = platformdirs.user_cache_path("overnight")
    root = tmp_path / "house"
    (root / "cache").mkdir(parents=True)
    for name in ("agents", "models"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        (root / "cache" / name).symlink_to(shared / name)
    return House(root)


def script(house: House, agent: str) -> str:
    """Return a model that works by the program's shell; each answer knows its place by the conversation."""
    tool, arguments = SHELLS[agent]
    commands = [*WORK, END] if agent == "mini-swe-agent" else list(WORK)
    answers: list[dict[str, Any]] = []
    for number, command in enumerate(commands):
        filled = json.loads(json.dumps(arguments).replace("{}", json.dumps(command)[1:-1]))
        seen = "".join(rf"(?=.*Step {before} )" for before in range(number))
        answers.append(
            {
                "text": f"Step {number} of the work.",
                "tool_calls": [{"name": tool, "arguments": filled}],
                "match_regex": rf"(?s)\A(?=.*calc\.py){seen}(?!.*Step {number} )",
                "repeat": True,
            }
        )
    return house.script([*answers, {"text": "add() adds now.", "repeat": True}])


@pytest.mark.parametrize("agent", list(SHELLS))
def test_a_real_program_works_to_a_verified_patch(agent: str, house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    installed = house.run("agent", "install", agent, seconds=1200)
    assert installed.code == 0, installed.stderr
    ended = house.run(
        "run", "add in calc.py subtracts", "--repo", str(repository), "--check", CHECK,
        "--agent", agent, "--model", script(house, agent), "--json", seconds=600,
    )  # fmt: skip
    assert ended.code == 0, ended.stdout + ended.stderr
    attempt = ended.json["attempts"][0]
    assert (attempt["agent"], attempt["verdict"]["finding"]) == (agent, "verified")
    lines = house.run("task", "logs", ended.json["task"], "--json").stdout.splitlines()
    events = [json.loads(line)["event"] for line in lines]
    calls = [event["name"] for event in events if event["type"] == "tool_call.started"]
    assert calls[:2] == [SHELLS[agent][0]] * 2
    assert [event["type"] for event in events].count("step.ended") >= 3
    forked = house.run("task", "fork", attempt["id"], "--at", "1", "--json", seconds=600)
    assert forked.code == 0, forked.stdout + forked.stderr
    fork = house.run("task", "view", ended.json["task"], "--json").json["attempts"][1]
    assert (fork.get("resumed"), fork["verdict"]["finding"]) == (RESUMED.get(agent, "native"), "verified")


def test_aider_works_with_the_embedded_model(house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    assert house.run("model", "pull", seconds=1800).code == 0
    assert (house.root / "cache" / "models" / QWEN_CODER.name).is_file()
    installed = house.run("agent", "install", "aider", seconds=1800)
    assert installed.code == 0, installed.stderr
    ended = house.run(
        "run", "In calc.py the function add subtracts; it should add. Change calc.py only.",
        "--repo", str(repository), "--check", CHECK, "--agent", "aider", "--model", "embedded", "--json",
        seconds=1500,
    )  # fmt: skip
    attempt = ended.json["attempts"][0]
    # A small model may fail; the program must have asked it and ended by itself.
    assert attempt["usage"]["model_calls"] >= 1
    assert attempt["verdict"] is not None
    assert attempt["agent"] == "aider"
