"""The table of attacks: what each test reported, folded to one outcome a case and sandbox."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from tests.attacks.catalogue import CASES

Outcome = Literal["held", "failed", "not applicable"]
BEGIN, END = "<!-- attacks:begin -->", "<!-- attacks:end -->"


class Cell(msgspec.Struct, kw_only=True):
    """How one case stands in one sandbox. Failed counts most, not applicable least."""

    outcome: Outcome
    tests: int = 0
    reasons: list[str] = msgspec.field(default_factory=list[str])


class Table:
    """A plugin that listens to reports and writes the table when the session ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cells: dict[int, dict[str, Cell]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one report: of the call, and of set-up or tear-down where those did not pass."""
        if report.when != "call" and report.passed:
            return
        for name, value in report.user_properties:
            if name == "attack":
                cases, backend = msgspec.convert(value, tuple[list[int], str])
                for case in cases:
                    self._add(case, backend, report)

    def _add(self, case: int, backend: str, report: pytest.TestReport) -> None:
        cell = self._cells.setdefault(case, {}).setdefault(backend, Cell(outcome="not applicable"))
        if report.skipped:
            # A list where the report came from another process.
            where = report.longrepr
            reason = where[2] if isinstance(where, tuple | list) else ""
            cell.reasons.append(str(reason).removeprefix("Skipped: "))
            return
        cell.tests += 1
        if report.failed:
            cell.outcome = "failed"
        elif cell.outcome != "failed":
            cell.outcome = "held"

    def pytest_sessionfinish(self) -> None:
        """Write what was seen."""
        self._path.write_bytes(msgspec.json.format(msgspec.json.encode(self._cells), indent=1))


def markdown(cells: Mapping[int, Mapping[str, Cell]]) -> str:
    """Return the table as Markdown, one row a case."""
    columns = sorted({name for row in cells.values() for name in row})
    lines = [
        f"| case | what it tries | {' | '.join(columns)} |",
        f"|---:|---|{'---|' * len(columns)}",
    ]
    for number in sorted(CASES):
        row = cells.get(number, {})
        lines.append(f"| {number} | {CASES[number]} | {' | '.join(_shown(row.get(c)) for c in columns)} |")
    reasons = sorted(
        {
            f"- {column}: {reason}"
            for row in cells.values()
            for column, cell in row.items()
            if not cell.tests
            for reason in cell.reasons
        }
    )
    return "\n".join([*lines, *(["", "Not applicable where this was written:", *reasons] if reasons else [])])


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    if not cell.tests:
        return "not applicable"
    return f"{cell.outcome} ({cell.tests})"


def write_into(document: Path, cells: Mapping[int, Mapping[str, Cell]]) -> None:
    """Put the table between the markers of a document."""
    text = document.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{document} has no {BEGIN} … {END}")
    document.write_text(f"{before}{BEGIN}\n{markdown(cells)}\n{END}{after}")


def main(results: str, document: str) -> None:
    """Read what `--attack-table` wrote and put it into the document; fails where a case failed."""
    read: dict[str, Any] = json.loads(Path(results).read_text())
    cells = {int(case): msgspec.convert(row, dict[str, Cell]) for case, row in read.items()}
    write_into(Path(document), cells)
    failed = [
        f"{case} ({name})" for case, row in cells.items() for name, c in row.items() if c.outcome == "failed"
    ]
    if failed:
        raise SystemExit(f"attacks that were not held: {', '.join(failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
