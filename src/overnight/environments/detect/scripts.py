"""Plain scripts: a repository's own test script is the check where nothing better is known."""

import re
import shlex

from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.reader import Looking

_NAMED = (
    "test.sh", "run_tests.sh", "run-tests.sh", "runtests.sh", "tests.sh", "check.sh", "test/run.sh",
    "tests/run.sh", "scripts/test.sh", "scripts/test", "bin/test", "script/test", "tests/run_tests.sh",
    "test/test.sh", "run_tests.py", "runtests.py",
)  # fmt: skip
_FOLDER = re.compile(r"tests?/[^/]+\.sh")
_MOST = 20


def detect_scripts(looking: Looking, host: Host) -> Found | None:
    """Return the checks that plain scripts are, or None."""
    del host
    for path in _NAMED:
        if looking.has(path):
            looking.note(path, "test script")
            runner = "python3" if path.endswith(".py") else "bash"
            tools = ("python3",) if runner == "python3" else ()
            return Found(language="shell", checks=(f"{runner} {shlex.quote(path)}",), tools=tools)
    scripts = [path for path in looking.all if _FOLDER.fullmatch(path)][:_MOST]
    if not scripts:
        return None
    looking.note(scripts[0], f"test scripts ({len(scripts)})")
    return Found(language="shell", checks=tuple(f"bash {shlex.quote(path)}" for path in scripts))
