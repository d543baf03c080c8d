"""Signs that an edit cheats instead of mending: refused outright, or only tried when all else failed."""

import ast
import re
import textwrap

from overnight.agents.repair.answers import Edit
from overnight.agents.repair.functions import Function

_FORBIDDEN = re.compile(
    r"\bos\._exit\b|\bsys\.exit\b|\b_exit\(|\bquit\(\)|\bexit\("
    r"|\bimport (?:pytest|unittest)\b|\bfrom (?:pytest|unittest)\b"
    r"|\bpytest\.|\bunittest\.|\bsys\.modules\b|\bsys\.setprofile\b|\bsys\.settrace\b|\batexit\b|\binspect\.stack\b"
    r"|\bPYTEST_|\bos\.kill\b|process\.exit\b|std::process::exit\b|\bos\.Exit\b|\bSystem\.exit\b"
)


def forbidden(edit: Edit, target: Function) -> str:
    """Return what the edit brings in that repair never proposes, or an empty string.

    What the original function already did may stay.
    """
    whole = "\n".join((*edit.imports, *edit.helpers, edit.code))
    for match in _FORBIDDEN.finditer(whole):
        if match[0] not in target.text:
            return f"it brings in `{match[0].strip()}`"
    if re.search(r"(?m)^\s*def test_", edit.code) and not target.name.startswith("test"):
        return "it adds a test"
    return ""


def special_cased(edit: Edit, target: Function, test_text: str) -> bool:
    """Say whether the edit answers a test's own literals: `if x == LITERAL: return LITERAL`, newly added.

    Literals that ordinary code compares with or returns (0, 1, empty, True …) do not count.
    """
    if target.language != "python" or not test_text:
        return False
    literals = _literals(test_text) - _ORDINARY
    before = {ast.dump(n.test) for n in _branches(target.code)}
    for branch in _branches(edit.code):
        test, first = branch.test, branch.body[0]
        if ast.dump(test) in before or not isinstance(test, ast.Compare) or not isinstance(first, ast.Return):
            continue
        if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq) or first.value is None:
            continue
        compared = {_key(n) for n in ast.walk(test) if isinstance(n, ast.Constant)}
        returned = {_key(n) for n in ast.walk(first.value) if isinstance(n, ast.Constant)}
        plain = not any(isinstance(n, ast.Name | ast.Call) for n in ast.walk(first.value))
        if plain and compared & literals and returned & literals:
            return True
    return False


_ORDINARY = frozenset({"0", "1", "-1", "2", "''", "None", "True", "False", "b''", "' '", "0.0", "1.0"})


def _key(node: ast.Constant) -> str:
    return repr(node.value)


def _literals(text: str) -> set[str]:
    try:
        tree = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {_key(n) for n in ast.walk(tree) if isinstance(n, ast.Constant)}


def _branches(text: str) -> list[ast.If]:
    try:
        tree = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [n for n in ast.walk(tree) if isinstance(n, ast.If) and n.body]
