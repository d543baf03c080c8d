"""Make: a `test` or `check` target is the check where no language's own runner is known."""

import re

from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.reader import Looking

_FILES = ("GNUmakefile", "makefile", "Makefile")


def detect_make(looking: Looking, host: Host) -> Found | None:
    """Return the check that a Makefile offers, or None."""
    del host
    path = next((name for name in _FILES if looking.has(name)), None)
    if path is None:
        return None
    content = looking.text(path)
    for target in ("test", "check", "tests"):
        if re.search(rf"^(?:[\w.-]+ +)*{target}(?: +[\w.-]+)* *::?(?!=)", content, re.MULTILINE):
            looking.note(path, f"target {target}")
            return Found(language="make", checks=(f"make {target}",), tools=("make",))
    return None
