"""Small systematic edits: each parses and differs in one thing; the usual slips are there."""

import ast

import pytest

from overnight.agents.repair.functions import Function, shape
from overnight.agents.repair.variants import MOST, variants


def function(code: str) -> Function:
    """Return the first function of some code."""
    return shape("a.py", code).functions[0]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("return a < b", "return a <= b"),
        ("return a == b", "return a != b"),
        ("return (a) - (b)", "return (a) + (b)"),
        ("return a and b", "return a or b"),
        ("return range(len(a))", "return range(len(a) + 1)"),
        ("return a[1:b]", "return a[1:b + 1]"),
        ("return a[1:]", "return a[0:]"),
        ("return f(a, b)", "return f(b, a)"),
        ("return min(a, b)", "return max(a, b)"),
        ("return a.startswith('é') and b < 2", "return a.endswith('é') and b < 2"),
        ("return not a", "return a"),
        ("return True", "return False"),
        ("return a - b", "return (b) - (a)"),
        ("return a not in b", "return a in b"),
    ],
)
def test_holds_the_usual_slip(wrong: str, right: str) -> None:
    made = [v.code for v in variants(function(f"def f(a, b):\n    {wrong}\n"))]
    assert f"def f(a, b):\n    {right}" in made


def test_every_variant_parses_and_none_is_the_same() -> None:
    code = (
        "class A:\n    def f(self, é, b=2):\n        # note\n        if (é < 3) and not b:\n"
        "            return min(é, b)[1:b] - (b + 1)\n        for i in range(len(é)):\n            g(i, é)\n"
    )
    made = variants(function(code))
    assert 20 < len(made) <= MOST
    assert len({v.digest for v in made}) == len(made)
    for variant in made:
        ast.parse(variant.code)
        assert "# note" in variant.code


def test_has_nothing_for_what_is_no_function() -> None:
    assert variants(function("RATE = 3\n")) == []


def test_leaves_plain_numbers_alone() -> None:
    made = [v.code for v in variants(function("def f(a):\n    total = 0\n    return total + g(a, 7)\n"))]
    assert not any("total = 1" in code or "8" in code for code in made)
