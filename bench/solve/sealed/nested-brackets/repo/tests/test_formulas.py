import pytest

from formulas.brackets import balanced, depth, first_problem
from formulas.cells import FormulaError, arguments, checked


@pytest.mark.parametrize("text", ["", "a + b", "(a + [b]) * {c}", "f(g(x)[1])"])
def test_fine(text):
    assert balanced(text)


@pytest.mark.parametrize(("text", "position"), [(")", 0), ("a)", 1), ("((a)", 0)])
def test_not_closed_or_not_opened(text, position):
    assert first_problem(text) == position


@pytest.mark.parametrize(("text", "position"), [("(]", 1), ("([)]", 2), ("{a + (b})", 7)])
def test_closed_by_another_kind(text, position):
    assert first_problem(text) == position


def test_cell():
    assert checked("= (a)") == "(a)"
    with pytest.raises(FormulaError, match="at 2"):
        checked("=(a]")


def test_no_formula():
    with pytest.raises(FormulaError):
        checked("a")


def test_arguments():
    assert arguments("f(a, g(b, c))") == ["a", "g(b, c)"]


def test_depth():
    assert depth("(a[b]) (c)") == 2
