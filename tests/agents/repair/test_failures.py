"""Reading what checks print, and judging one run against another."""

import json

import pytest

from overnight.agents.repair.answers import Edit
from overnight.agents.repair.checks import effect, progress, runner_of
from overnight.agents.repair.failures import Failure, Frame, Report, read
from overnight.agents.repair.functions import shape
from overnight.agents.repair.schedule import places, plan
from overnight.agents.repair.suspicion import forbidden, special_cased

MARK = "OVERNIGHT-abc "


def record(**fields: object) -> str:
    """Return a line as the probe writes it."""
    return MARK + json.dumps(fields)


def test_reads_the_probe_among_other_output() -> None:
    output = "\n".join(
        [
            "collecting",
            record(k="start", t="t.py::a"),
            record(
                k="test",
                t="t.py::a",
                s="failed",
                e="KeyError",
                m="KeyError: 1",
                f=[["a.py", 3, "f", {"x": "1"}]],
            ),
            "noise" + record(k="time", t="t.py::a", n=0.5),
            record(k="test", t="t.py::b", s="passed"),
            record(k="trace", t="t.py::a", x=[["a.py", 1, "f", ["(1) -> 2"]]]),
            MARK + "{broken",
            MARK + "[1]",
            record(k="start", t="t.py::c"),
        ]
    )
    report = read(output, MARK, 1)
    assert report.probed
    assert report.tests == {"t.py::a": "failed", "t.py::b": "passed", "t.py::c": "error"}
    assert report.failures[0].frames == (Frame("a.py", 3, "f", {"x": "1"}),)
    assert report.failures[1].exception == "Timeout"
    assert report.calls["t.py::a"][0].samples == ("(1) -> 2",)
    assert report.slowest == 0.5
    assert "collecting" in report.output
    assert MARK not in report.output


PYTEST = """
=================================== FAILURES ===================================
_______________________________ test_a[1-2] ________________________________

    def test_a(x, y):
>       assert add(x, y) == 4
E       assert 3 == 4
E        +  where 3 = add(1, 2)

tests/test_a.py:7: AssertionError
=========================== short test summary info ============================
FAILED tests/test_a.py::test_a[1-2] - assert 3 == 4
PASSED tests/test_a.py::test_b
"""
UNITTEST = """
test_a (tests.test_x.T.test_a) ... FAIL
test_b (tests.test_x.T.test_b) ... ok

======================================================================
FAIL: test_a (tests.test_x.T.test_a)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/workspace/tests/test_x.py", line 6, in test_a
    self.assertEqual(f(1), 2)
AssertionError: 1 != 2
"""
GO = "--- FAIL: TestAdd (0.00s)\n    add_test.go:9: got 3, want 4\nFAIL\n--- PASS: TestSub (0.00s)\n"
CARGO = (
    "test add ... FAILED\ntest sub ... ok\n\n---- add stdout ----\n"
    "thread 'add' panicked at src/lib.rs:12:9:\nassertion\n"
)
NODE = (
    "✖ adds (1.2ms)\n✔ subtracts (0.1ms)\n"
    "AssertionError: 3 == 4\n    at Object.add (/workspace/sum.js:3:5)\n"
    "    at run (/workspace/test/a.test.js:9:3)\n"
)


@pytest.mark.parametrize(
    ("output", "failed", "passed", "path"),
    [
        (PYTEST, "tests/test_a.py::test_a[1-2]", "tests/test_a.py::test_b", "tests/test_a.py"),
        (UNITTEST, "test_a (tests.test_x.T.test_a)", "test_b (tests.test_x.T.test_b)", "tests/test_x.py"),
        (GO, "TestAdd", "TestSub", "add_test.go"),
        (CARGO, "add", "sub", "src/lib.rs"),
        (NODE, "adds", "subtracts", "sum.js"),
    ],
)
def test_reads_plain_output_of_runners(output: str, failed: str, passed: str, path: str) -> None:
    report = read(output, MARK, 1)
    assert failed in report.failed
    assert passed in report.passed
    assert path in {frame.path for failure in report.failures for frame in failure.frames}
    assert not report.probed


def run(tests: dict[str, str], line: int = 5, code: int = 1) -> Report:
    """Return a run in which failing tests fail at a line of their own."""
    failures = tuple(
        Failure(test=name, frames=(Frame("tests/t.py", line, name),))
        for name, s in tests.items()
        if s != "passed"
    )
    return Report(exit_codes=(code,), tests=tests, failures=failures)


BEFORE = run({"a": "failed", "b": "failed", "c": "passed"})


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (run({"a": "passed", "b": "passed", "c": "passed"}, code=0), "solved"),
        (run({"a": "passed", "b": "failed", "c": "passed"}), "better"),
        (run({"a": "passed", "b": "passed", "c": "failed"}), "worse"),
        (run({"a": "passed", "b": "passed"}, code=0), "worse"),
        (run({"a": "failed", "b": "failed", "c": "passed"}), "same"),
        (run({"a": "failed", "b": "failed", "c": "passed"}, line=8), "farther"),
        (run({"a": "failed", "b": "failed", "c": "passed"}, line=3), "worse"),
        (run({}, code=2), "worse"),
        (Report(exit_codes=(-9,), tests=BEFORE.tests, limit="command_seconds"), "worse"),
    ],
)
def test_judges_a_run_by_the_one_before(after: Report, expected: str) -> None:
    assert effect(BEFORE, after) == expected


def test_judges_by_exit_codes_where_nothing_else_is_known() -> None:
    red, green = Report(exit_codes=(1, 1)), Report(exit_codes=(0, 0))
    assert effect(red, green) == "solved"
    assert effect(red, Report(exit_codes=(0, 1))) == "better"
    assert effect(red, red) == "same"
    assert effect(green, red) == "worse"
    assert effect(Report(exit_codes=(2,), tests={"t.py": "error"}), run({"t.py::a": "failed"})) == "better"


def test_progress_needs_the_same_test() -> None:
    assert progress([Failure(test="a")], [Failure(test="b")]) == "same"


@pytest.mark.parametrize(
    ("check", "runner"),
    [("python3 -m pytest -q", "pytest"), ("make test", "pytest"), ("python -m unittest", "unittest"),
     ("python manage.py test", "unittest"), ("go test ./...", ""), ("npm test", "")],
)  # fmt: skip
def test_knows_which_probe_fits(check: str, runner: str) -> None:
    assert runner_of(check) == runner


def test_plans_differ_by_attempt_and_stay_within_the_places() -> None:
    for round_number in range(4):
        plans = [plan(number, 3, round_number) for number in (1, 2, 3, 4)]
        assert all(sample.rank < 3 for samples in plans for sample in samples)
        assert all(samples for samples in plans)
        assert len({tuple((s.rank, s.view, s.temperature) for s in samples) for samples in plans}) == 4
    assert plan(1, 0, 0) == []
    assert plan(1, 1, 0)[0].temperature == 0.0
    assert places([]) == 0
    assert places([5.0, 4.0, 0.1]) == 2


FILE = "def f(x):\n    return x\n"
TEST = "def test_f():\n    assert f('colour') == 'color'\n    assert f(12) == 34\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(x):\n    if x == 'colour':\n        return 'color'\n    return x", True),
        ("def f(x):\n    if x == 12:\n        return 34\n    return x", True),
        ("def f(x):\n    if x in ('yes', 'colour'):\n        return True\n    return x", False),
        ("def f(x):\n    if x == 0:\n        return 1\n    return x", False),
        ("def f(x):\n    return x.replace('our', 'or')", False),
        ("def f(x):\n    if x == 'colour':\n        return x.replace('our', 'or')\n    return x", False),
    ],
)
def test_smells_special_cases(code: str, expected: bool) -> None:
    assert special_cased(Edit(code=code, digest=""), shape("a.py", FILE).functions[0], TEST) is expected


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("def f(x):\n    os._exit(0)", True),
        ("def f(x):\n    sys.exit(0)", True),
        ("def f(x):\n    import pytest\n    pytest.skip()", True),
        ("def f(x):\n    def test_me():\n        pass", True),
        ("def f(x):\n    return x + 1", False),
    ],
)
def test_refuses_cheats(code: str, refused: bool) -> None:
    assert bool(forbidden(Edit(code=code, digest=""), shape("a.py", FILE).functions[0])) is refused
