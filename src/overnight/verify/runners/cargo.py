"""`cargo test`: the lines that libtest prints. A test can print such lines, so they are no proof."""

import re

from overnight.domain.verdict import TestStatus
from overnight.verify.runners.channel import worse

_LINE = re.compile(r"^test (?P<name>.+?)(?: - should panic)? \.\.\. (?P<status>ok|FAILED|ignored)\b", re.M)
_RESULT = re.compile(r"^test result: ", re.M)
_STATUS: dict[str, TestStatus] = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}


def recognise(check: str) -> bool:
    """Say whether the command calls `cargo test` itself."""
    # One search after the other: both in one pattern would cost the square of a hostile command.
    for command in re.split(r"[;&|]", check):
        found = re.search(r"\bcargo\b", command)
        if found is not None and re.compile(r"\btest\b").search(command, found.end()):
            return True
    return False


def parse(output: str) -> dict[str, TestStatus] | None:
    """Return results by name, or None where no test binary came to its end."""
    if not _RESULT.search(output):
        return None
    tests: dict[str, TestStatus] = {}
    for found in _LINE.finditer(output):
        name = found["name"]
        tests[name] = worse(tests.get(name, "missing"), _STATUS[found["status"]])
    return tests
