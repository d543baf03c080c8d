"""Node's own test runner, direct or behind `npm test`: a reporter of ours next to the usual one."""

import re
from collections.abc import Callable, Mapping

MAX_BYTES = 512 * 1024
"""What is read of a file that only tells how tests are started."""

Read = Callable[[str], bytes | None]


def recognise(check: str, read: Read) -> bool:
    """Say whether the command, its package script or its Makefile calls `node --test`."""
    text = check
    if re.search(r"\b(npm|pnpm|yarn|npx)\b", check):
        text += "\n" + (read("package.json") or b"")[:MAX_BYTES].decode("utf-8", "replace")
    if re.search(r"\bmake\b", check):
        text += "\n" + (read("Makefile") or b"")[:MAX_BYTES].decode("utf-8", "replace")
    return "--test-reporter" not in text and any(map(_runs_tests, text.split("\n")))


def _runs_tests(line: str) -> bool:
    # One search after the other: both in one pattern would cost the square of a hostile line.
    found = re.search(r"\bnode\b", line)
    return found is not None and re.compile(r"\s--test\b").search(line, found.end()) is not None


def variables(inside: str, present: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that add our reporter; it restores them for the test files."""
    plain = present.get("NODE_OPTIONS", "")
    ours = (
        "--test-reporter=spec --test-reporter-destination=stdout "
        f"--test-reporter={inside}/overnight_reporter.mjs --test-reporter-destination=stderr"
    )
    return {"NODE_OPTIONS": f"{plain} {ours}".strip(), "OVERNIGHT_NODE_OPTIONS": plain}
