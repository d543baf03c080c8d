"""Attempts replay from their logs: those of each agent, and a hundred of them to the byte."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHECK, Answer, stepping
from tests.house import CHECK as UNITTEST
from tests.house import House

FIXED = "```python\ndef add(a, b):\n    return a + b\n```"
WRONG = "```python\ndef add(a, b):\n    return b - a\n```"


def test_repair_replays_its_samples(house: House, answer: Answer, buggy: Path) -> None:
    """Samples are asked ahead, so that they are found by what was asked and not by their order."""
    model = house.script([{"text": WRONG}, {"text": WRONG}, {"text": FIXED}], agent="repair")
    ran = answer("run", "Fix add", "--repo", str(buggy), "--check", UNITTEST, "--json", "--model", model)
    assert ran.code == 0, ran
    (attempt,) = ran.json["attempts"]
    assert (attempt["agent"], attempt["verdict"]["verified"]) == ("repair", True)
    (house.root / "script.json").unlink()
    again = answer("task", "replay", attempt["id"])
    assert again.code == 0, again
    used = answer("task", "usage", ran.json["task"], "--json").json
    assert used["usage"]["model_calls"] == attempt["usage"]["model_calls"]
    assert sum(step["usage"]["model_calls"] for step in used["attempts"][0]["steps"]) >= 1
    assert "model calls" in answer("task", "usage", ran.json["task"]).stdout


def steps(draw: random.Random) -> list[dict[str, Any]]:
    """Return the calls of a made-up attempt: edits, and commands whose output differs each time."""
    calls: list[dict[str, Any]] = []
    for number in range(draw.randrange(1, 5)):
        name, text = f"file{draw.randrange(3)}.txt", f"{number} {draw.random()}"
        commands = (
            f"echo '{text}' >> {name}; date -u +%Y-%m-%dT%H:%M:%SZ; echo took 0.$RANDOM s",
            f"mkdir -p d{number}; echo '{text}' > d{number}/{name}; chmod +x d{number}/{name}",
            f"python3 -c \"print(object()); open('{name}', 'a').write('{text}')\"",
            "rm -f README.md; false",
        )
        calls.append({"command": draw.choice(commands)})
    return [{"name": "shell", "arguments": call} for call in calls]


def replayed(house: House, answer: Answer, repository: Path, seed: int, attempts: int) -> int:
    """Make attempts of one script and replay each; returns how many replayed to the same bytes."""
    draw = random.Random(seed)
    model = stepping(house, steps(draw), f"script{seed}")
    ran = answer(
        "run", f"Task {seed}", "--repo", str(repository), "--check", CHECK, "--no-verify", "--json",
        "--attempts", str(attempts), "--model", model,
    )  # fmt: skip
    assert len(ran.json["attempts"]) == attempts, ran
    same = 0
    for attempt in ran.json["attempts"]:
        again = answer("task", "replay", attempt["id"])
        assert "byte-identical" in again.stderr, (seed, attempt, again)
        same += again.code == 0
    return same


def test_attempts_replay_to_the_same_patch(house: House, answer: Answer, buggy: Path) -> None:
    assert replayed(house, answer, buggy, 1, 2) == 2


@pytest.mark.full
def test_a_hundred_attempts_replay_to_identical_patches(house: House, answer: Answer, buggy: Path) -> None:
    assert sum(replayed(house, answer, buggy, seed, 4) for seed in range(25)) == 100
