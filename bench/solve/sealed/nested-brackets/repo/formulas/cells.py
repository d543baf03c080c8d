"""Formulas in the cells of a sheet."""

from formulas.brackets import balanced, first_problem


class FormulaError(ValueError):
    """A formula that cannot be read."""


def checked(text):
    """Return a formula without its `=`, or raise."""
    if not text.startswith("="):
        raise FormulaError("a formula starts with =")
    body = text[1:].strip()
    if not balanced(body):
        raise FormulaError(f"wrong bracket at {first_problem(body)}")
    return body


def arguments(text):
    """Split `f(a, g(b, c))` into its outer arguments."""
    inner = text[text.index("(") + 1 : text.rindex(")")]
    parts = [""]
    level = 0
    for character in inner:
        if character == "," and level == 0:
            parts.append("")
            continue
        level += {"(": 1, ")": -1}.get(character, 0)
        parts[-1] += character
    return [part.strip() for part in parts]
