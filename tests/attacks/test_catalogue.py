"""Every case of the catalogue has a test, and every test a case."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.catalogue import CASES, ELSEWHERE
from tests.attacks.table import Cell, markdown

HERE = Path(__file__).parent


def marked() -> Iterator[tuple[str, int]]:
    """Yield (file, case) for every mark of the suite, as it is written."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "attack"
            ):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                        yield path.name, argument.value


def test_every_case_has_a_test() -> None:
    tested = {case for _, case in marked()}
    assert sorted(set(CASES) - tested - set(ELSEWHERE)) == []


def test_every_mark_is_a_case() -> None:
    assert [(name, case) for name, case in marked() if case not in CASES] == []
    assert set(ELSEWHERE) <= set(CASES)


def test_the_table_says_what_was_seen() -> None:
    cells = {
        1: {
            "host": Cell(outcome="held", tests=3),
            "container": Cell(outcome="not applicable", reasons=["no podman"]),
        },
        2: {"host": Cell(outcome="failed", tests=1)},
    }
    text = markdown(cells)
    assert "| not applicable | held (3) |" in text
    assert "failed (1)" in text
    assert "- container: no podman" in text
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == len(CASES) + 1
