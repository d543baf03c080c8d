"""JUnit XML that a command leaves in the workspace. The checked code can write it, so it is no proof."""

import re
from xml.etree import ElementTree

from overnight.domain.verdict import TestStatus
from overnight.verify.runners.channel import worse

MAX_BYTES = 8 * 1024**2
"""An empty element takes four bytes here and a hundred in memory."""


def recognise(check: str) -> tuple[str, ...]:
    """Return the relative paths of XML files that the command names."""
    return tuple(
        dict.fromkeys(re.findall(r"(?<![\w./-])(?:\./)?((?:[\w-][\w.-]*/)*[\w-][\w.-]*\.xml)\b", check))
    )


def parse(content: bytes) -> dict[str, TestStatus] | None:
    """Return results by name, or None where this is no JUnit XML. Documents with a DTD are refused."""
    if len(content) > MAX_BYTES:
        return None
    try:
        # As text, so that no other encoding can hide a DTD from the look at it.
        text = content.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            return None
        root = ElementTree.fromstring(text)  # noqa: S314  no DTD, so no entities to expand
    except (ElementTree.ParseError, ValueError):
        return None
    if root.tag not in ("testsuites", "testsuite"):
        return None
    tests: dict[str, TestStatus] = {}
    for case in root.iter("testcase"):
        name = ".".join(filter(None, [case.get("classname", ""), case.get("name", "")]))
        status: TestStatus = "passed"
        if case.find("error") is not None:
            status = "error"
        elif case.find("failure") is not None:
            status = "failed"
        elif case.find("skipped") is not None:
            status = "skipped"
        tests[name] = worse(tests.get(name, "missing"), status)
    return tests
