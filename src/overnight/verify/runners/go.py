"""`go test`: asked for JSON events (`go doc test2json`). A test can print such lines: they are no proof."""

import re

import msgspec

from overnight.domain.verdict import TestStatus
from overnight.verify.runners.channel import worse

_STATUS: dict[str, TestStatus] = {"pass": "passed", "fail": "failed", "skip": "skipped"}


class _Event(msgspec.Struct, frozen=True, rename="pascal"):
    action: str
    package: str = ""
    test: str = ""
    output: str = ""


def rewrite(script: str) -> str:
    """Ask every `go test` of the command for JSON."""
    return re.sub(r"\bgo test\b(?!\s+-json)", "go test -json", script)


def parse(output: str) -> tuple[dict[str, TestStatus], str] | None:
    """Return results and readable output, or None where the output holds no events of `go test`."""
    tests: dict[str, TestStatus] = {}
    shown: list[str] = []
    packages: dict[str, str] = {}
    failed: set[str] = set()
    for line in output.splitlines():
        try:
            event = msgspec.json.decode(line, type=_Event)
        except msgspec.MsgspecError:
            shown.append(line + "\n")
            continue
        name = f"{event.package}.{event.test}"
        if event.action in ("output", "build-output"):
            shown.append(event.output)
        elif event.test and event.action == "run":
            tests.setdefault(name, "missing")
            packages[name] = event.package
        elif event.test and event.action in _STATUS:
            packages[name] = event.package
            tests[name] = worse(tests.get(name, "missing"), _STATUS[event.action])
        elif event.action == "fail":
            failed.add(event.package)
    red = {packages[name] for name, status in tests.items() if status in ("failed", "missing")}
    for package in failed - red:
        tests[f"{package} (collection)"] = "error"
    return (tests, "".join(shown)) if tests or failed else None
