"""The whole agent over a real workspace and sandbox, driven by a scripted model."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from overnight.agents.repair.agent import Repair
from overnight.domain.conversation import Request
from overnight.domain.events import (
    CheckpointCreated,
    FileChanged,
    LimitHit,
    MessageAdded,
    ProposalChecked,
    ProposalMade,
    StepEnded,
    StepStarted,
    UsageUpdated,
)
from overnight.domain.limits import Limits
from overnight.environments.interface import Workspace
from overnight.models.interface import ModelProfile
from overnight.models.scripted import ScriptedModel
from tests.agents.repair.workplace import Workplace

pytestmark = pytest.mark.anyio
PROFILE = ModelProfile(name="scripted", tool_calls=False, agent="repair", parallel=2)

SHOP = {
    "shop/__init__.py": "",
    "shop/price.py": (
        "def half(x):\n    # a comment to keep\n    return x / 2\n\n\n"
        "def total(xs):\n    s = 0  # start\n    for x in xs[1:]:\n        s += half(x)\n    return s\n"
    ),
    "tests/test_price.py": (
        "from shop.price import half, total\n\n\ndef test_half():\n    assert half(2) == 1\n\n\n"
        "def test_total():\n    assert total([2, 4]) == 3\n"
    ),
}
GOOD = "```python\ndef total(xs):\n    s = 0\n    for x in xs:\n        s += half(x)\n    return s\n```"
BAD = "```python\ndef total(xs):\n    return 4\n```"


def scripted(*answers: str, repeat_last: bool = True) -> ScriptedModel:
    """Return a model that gives these answers in turn."""
    return ScriptedModel(list(answers), repeat_last=repeat_last, profile=PROFILE)


def by_function(answers: Mapping[str, str | Sequence[str]]) -> ScriptedModel:
    """Return a model that answers by the function asked for: its answers in turn, the last one for ever."""
    asked: dict[str, int] = {}

    def answer(request: Request) -> str:
        found = re.search(r"(?:corrected \w+|better|new \w+) `(\w+)`\.$", request.messages[-1].text)
        name = found[1] if found else ""
        given = answers.get(name, "I do not know.")
        choices = [given] if isinstance(given, str) else list(given)
        asked[name] = asked.get(name, 0) + 1
        return choices[min(asked[name], len(choices)) - 1]

    return ScriptedModel(answer, profile=PROFILE)


def text(workspace: Workspace, path: str) -> str:
    """Return a file of a workspace."""
    raw = workspace.read(path)
    assert raw is not None
    return raw.decode()


async def test_mends_one_function_and_keeps_comments(tmp_path: Path) -> None:
    place = Workplace(tmp_path, SHOP)
    assignment = place.assignment(by_function({"total": ["I would say nothing is wrong.", BAD, GOOD]}))
    outcome = await Repair(systematic=False).work(assignment)
    assert not outcome.gave_up
    assert "total" in outcome.summary
    changed = text(assignment.workspace, "shop/price.py")
    assert changed == SHOP["shop/price.py"].replace("xs[1:]", "xs")
    events = place.sink.events
    proposals = [e for e in events if isinstance(e, ProposalMade) and e.target == "total"]
    assert [bool(e.rejected) for e in proposals] == [True, False, False]
    assert [e.kept for e in events if isinstance(e, ProposalChecked)] == [False, True]
    assert [e.path for e in events if isinstance(e, FileChanged)] == ["shop/price.py"]
    steps = [e.step for e in events if isinstance(e, StepStarted)]
    assert steps == [e.step for e in events if isinstance(e, StepEnded)]
    assert steps == list(range(1, len(steps) + 1))
    assert [e.step for e in events if isinstance(e, CheckpointCreated)][-1] == steps[-1]
    assert outcome.usage.model_calls == len(steps)
    assert [e.usage for e in events if isinstance(e, UsageUpdated)][-1] == outcome.usage
    assert any(isinstance(e, MessageAdded) and e.message.role == "assistant" for e in events)


TWO_FILES = {
    "bill/__init__.py": "",
    "bill/tax.py": "def tax(amount):\n    return amount * 0.2\n",
    "bill/round.py": "def cents(amount):\n    return int(amount * 100) // 10\n",
    "bill/bill.py": (
        "from bill.round import cents\nfrom bill.tax import tax\n\n\n"
        "def due(amount):\n    return cents(amount + tax(amount))\n"
    ),
    "tests/test_bill.py": (
        "from bill.bill import due\nfrom bill.tax import tax\n\n\n"
        "def test_tax():\n    assert tax(100) == 10\n\n\n"
        "def test_due():\n    assert due(1) == 110\n"
    ),
}
TAX = "```python\ndef tax(amount):\n    return amount * 0.1\n```"
CENTS = "```python\ndef cents(amount):\n    return round(amount * 100)\n```"
DUE = "```python\ndef due(amount):\n    return cents(amount + tax(amount))\n```"


async def test_mends_two_files_in_two_kept_steps(tmp_path: Path) -> None:
    place = Workplace(tmp_path, TWO_FILES)
    assignment = place.assignment(by_function({"tax": TAX, "cents": CENTS, "due": DUE}))
    outcome = await Repair().work(assignment)
    assert not outcome.gave_up
    assert {c.path for c in assignment.workspace.changes()} == {"bill/tax.py", "bill/round.py"}
    assert sum(e.kept for e in place.sink.events if isinstance(e, ProposalChecked)) == 2


async def test_tries_edits_together_where_neither_helps_alone(tmp_path: Path) -> None:
    files = dict(TWO_FILES)
    files["tests/test_bill.py"] = "from bill.bill import due\n\n\ndef test_due():\n    assert due(1) == 110\n"
    place = Workplace(tmp_path, files)
    assignment = place.assignment(by_function({"tax": TAX, "cents": CENTS, "due": DUE}))
    outcome = await Repair().work(assignment)
    assert not outcome.gave_up
    assert {c.path for c in assignment.workspace.changes()} == {"bill/tax.py", "bill/round.py"}


async def test_never_touches_a_protected_file(tmp_path: Path) -> None:
    place = Workplace(tmp_path, SHOP)
    assignment = place.assignment(scripted(GOOD), protected=("tests/**", "shop/**"))
    outcome = await Repair().work(assignment)
    assert outcome.gave_up
    assert assignment.workspace.changes() == []
    assert not any(isinstance(e, ProposalChecked) for e in place.sink.events)


GARBAGE = [
    "",
    "```",
    "```python\n```",
    "def total(xs:\n  return",
    "```python\ndef other(x):\n    return x\n```",
    "```python\nimport os\n\ndef total(xs):\n    os._exit(0)\n```",
    "```python\ndef test_total():\n    assert True\n```",
    '```json\n{"a": 1}\n```',
    "\x00\ud7ff```python\nasync def total(xs):\n    return 3\n```",
    "```python\ndef total(xs):\n    while True:\n        pass\n```",
]


async def test_survives_garbage(tmp_path: Path) -> None:
    place = Workplace(tmp_path, SHOP)
    assignment = place.assignment(by_function({"total": [*GARBAGE, GOOD]}))
    outcome = await Repair(systematic=False).work(assignment)
    assert not outcome.gave_up
    assert "xs[1:]" not in text(assignment.workspace, "shop/price.py")
    reasons = [e.rejected for e in place.sink.events if isinstance(e, ProposalMade)]
    assert any("os._exit" in reason for reason in reasons)
    assert any("async" in reason for reason in reasons)


async def test_answers_back_when_the_code_comes_back_unchanged(tmp_path: Path) -> None:
    place = Workplace(tmp_path, SHOP)
    same = f"```python\n{SHOP['shop/price.py'].split(chr(10) * 3)[1]}```"

    def answer(request: Request) -> str:
        if "same code again" in request.messages[-1].text:
            return f"The slice is wrong.\n{GOOD}"
        return same if "`total`" in request.messages[-1].text else "No."

    assignment = place.assignment(ScriptedModel(answer, profile=PROFILE))
    outcome = await Repair(systematic=False).work(assignment)
    assert not outcome.gave_up
    assert outcome.usage.model_calls < 8
    views = [e.view for e in place.sink.events if isinstance(e, ProposalMade)]
    assert views[-1] == "echo"


async def test_gives_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    place = Workplace(tmp_path, SHOP)
    assignment = place.assignment(scripted(BAD))
    outcome = await Repair(systematic=False).work(assignment)
    assert outcome.gave_up
    assert assignment.workspace.changes() == []


async def test_tries_small_systematic_edits_when_the_model_has_no_idea(tmp_path: Path) -> None:
    place = Workplace(tmp_path, SHOP)
    assignment = place.assignment(scripted("I do not know."))
    outcome = await Repair().work(assignment)
    assert not outcome.gave_up
    assert "xs[0:]" in text(assignment.workspace, "shop/price.py")
    assert "variant" in {e.view for e in place.sink.events if isinstance(e, ProposalMade)}


async def test_goes_on_after_the_last_finished_step(tmp_path: Path) -> None:
    place = Workplace(tmp_path, TWO_FILES)
    workspace = place.workspace()
    first = place.assignment(
        by_function({"tax": TAX, "cents": CENTS, "due": DUE}), workspace=workspace, limits=Limits(steps=1)
    )
    await Repair().work(first)
    ended = [e for e in place.sink.events if isinstance(e, StepEnded)]
    assert len(ended) == 1
    history = list(place.sink.events)
    await workspace.restore(ended[-1].checkpoint or "")
    second = place.assignment(
        by_function({"tax": TAX, "cents": CENTS, "due": DUE}), workspace=workspace, history=history
    )
    outcome = await Repair().work(second)
    assert not outcome.gave_up
    steps = [e.step for e in place.sink.events if isinstance(e, StepEnded)]
    assert steps == list(range(1, len(steps) + 1))
    assert outcome.usage.model_calls == len(steps)
    done = list(place.sink.events)
    third = place.assignment(scripted("never asked"), workspace=workspace, history=done)
    again = await Repair().work(third)
    assert not again.gave_up
    assert len(place.sink.events) == len(done)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(steps=2), "steps"),
        (Limits(tokens=300), "tokens"),
        (Limits(attempt_seconds=0.05), "attempt_seconds"),
    ],
)
async def test_stops_at_a_limit(tmp_path: Path, limits: Limits, name: str) -> None:
    place = Workplace(tmp_path, SHOP)
    assignment = place.assignment(scripted(BAD), limits=limits)
    outcome = await Repair(systematic=False).work(assignment)
    assert outcome.gave_up
    assert [e.limit for e in place.sink.events if isinstance(e, LimitHit)] == [name]
    assert assignment.workspace.changes() == []


async def test_finds_the_place_among_two_hundred_files(tmp_path: Path) -> None:
    files = {
        f"big/part{n}.py": "".join(f"def work_{n}_{k}(x):\n    return x + {k}\n\n\n" for k in range(8))
        for n in range(200)
    }
    files["big/__init__.py"] = ""
    files["big/last.py"] = (
        "from big.part7 import work_7_1\n\n\n"
        "class Cart:\n    def __init__(self):\n        self.items = []\n\n"
        "    def add(self, item):\n        self.items.append(work_7_1(item))\n\n"
        "    def size(self):\n        return len(self.items) + 1\n"
    )
    files["tests/test_last.py"] = (
        "from big.last import Cart\n\n\n"
        "def test_size():\n    cart = Cart()\n    cart.add(1)\n    assert cart.size() == 1\n"
    )
    place = Workplace(tmp_path, files)
    answer = "```python\n    def size(self):\n        return len(self.items)\n```"
    model = ScriptedModel(
        lambda request: answer if "function `size`" in request.messages[-1].text else "No.", profile=PROFILE
    )
    assignment = place.assignment(model)
    outcome = await Repair().work(assignment)
    assert not outcome.gave_up
    assert outcome.usage.model_calls <= 4
    changed = text(assignment.workspace, "big/last.py")
    assert changed.endswith("    def size(self):\n        return len(self.items)\n")


async def test_writes_a_function_that_the_test_misses(tmp_path: Path) -> None:
    files = dict(SHOP)
    files["shop/price.py"] = "def half(x):\n    return x / 2\n"
    place = Workplace(tmp_path, files)

    def answer(request: Request) -> str:
        return GOOD if "does not exist yet" in request.messages[-1].text else "No."

    assignment = place.assignment(ScriptedModel(answer, profile=PROFILE))
    outcome = await Repair().work(assignment)
    assert not outcome.gave_up
    changed = text(assignment.workspace, "shop/price.py")
    assert changed.startswith("def half(x):\n    return x / 2\n\n\ndef total(xs):\n")


async def test_says_so_when_no_check_fails(tmp_path: Path) -> None:
    files = dict(SHOP)
    files["shop/price.py"] = SHOP["shop/price.py"].replace("xs[1:]", "xs")
    place = Workplace(tmp_path, files)
    assignment = place.assignment(
        scripted("```python\ndef total(xs):\n    return sum(half(x) for x in xs)\n```"),
        prompt="Make `total` shorter",
    )
    outcome = await Repair().work(assignment)
    assert "none shows the task done" in outcome.summary
    assert [c.path for c in assignment.workspace.changes()] == ["shop/price.py"]


async def test_mends_by_unittest_and_by_exit_code_alone(tmp_path: Path) -> None:
    files = dict(SHOP)
    files["tests/test_price.py"] = (
        "import unittest\nfrom shop.price import total\n\n\nclass TotalTest(unittest.TestCase):\n"
        "    def test_total(self):\n        self.assertEqual(total([2, 4]), 3)\n"
    )
    files["tests/__init__.py"] = ""
    files["run.py"] = "from shop.price import total\n\nassert total([2, 4]) == 3, total([2, 4])\n"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder, check in (("a", "python3 -m unittest -q"), ("b", "python3 run.py")):
        place = Workplace(tmp_path / folder, files)
        assignment = place.assignment(
            by_function({"total": [BAD, GOOD]}), checks=(check,), protected=("tests/**", "run.py")
        )
        outcome = await Repair().work(assignment)
        assert not outcome.gave_up, check
        assert [c.path for c in assignment.workspace.changes()] == ["shop/price.py"]
