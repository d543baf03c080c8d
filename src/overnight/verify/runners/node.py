"""Node's own test runner, direct or behind `npm test`: a reporter of ours next to the usual one."""

import re
from collections.abc import Callable, Mapping

Read = Callable[[str], bytes | None]


def recognise(check: str, read: Read) -> bool:
    """Say whether the command, its package script or its Makefile calls `node --test`."""
    text = check
    if re.search(r"\b(npm|pnpm|yarn|npx)\b", check):
        text += "\n" + (read("package.json") or b"").decode("utf-8", "replace")
    if re.search(r"\bmake\b", check):
        text += "\n" + (read("Makefile") or b"").decode("utf-8", "replace")
    return bool(re.search(r"\bnode\b[^\n]*\s--test\b", text)) and "--test-reporter" not in text


def variables(inside: str, present: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that add our reporter; it restores them for the test files."""
    plain = present.get("NODE_OPTIONS", "")
    ours = (
        "--test-reporter=spec --test-reporter-destination=stdout "
        f"--test-reporter={inside}/overnight_reporter.mjs --test-reporter-destination=stderr"
    )
    return {"NODE_OPTIONS": f"{plain} {ours}".strip(), "OVERNIGHT_NODE_OPTIONS": plain}
