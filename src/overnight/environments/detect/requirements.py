"""Which packages a Python project wants for its tests: extras, groups, requirements files."""

import re
import shlex
from typing import Any

from overnight.environments.detect.reader import Looking, strings, table, tables, text

EXTRAS = ("test", "tests", "testing", "dev")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]*\])?[^\n\r\\`$;|&]*(;[^\n\r\\`$|&]*)?")
_TEST_FILES = (
    "requirements-test.txt", "requirements-tests.txt", "requirements-testing.txt", "requirements-dev.txt",
    "requirements_test.txt", "requirements_dev.txt", "test-requirements.txt", "dev-requirements.txt",
    "requirements/test.txt", "requirements/tests.txt", "requirements/testing.txt", "requirements/dev.txt",
    "tests/requirements.txt", "test/requirements.txt",
)  # fmt: skip


def is_named(requirements: list[str], name: str) -> bool:
    """Say whether one of the requirements is for the package `name`."""
    return any(
        re.match(rf"{re.escape(name)}(?![\w.-])", item.strip(), re.IGNORECASE) for item in requirements
    )


def requirement_files(looking: Looking) -> list[str]:
    """Return the requirements files to install: the main one, then those for tests."""
    main = [path for path in ("requirements.txt", "requirements/base.txt") if looking.has(path)]
    return [*main[:1], *(path for path in _TEST_FILES if looking.has(path))]


def listed(looking: Looking, path: str) -> list[str]:
    """Return the requirements of a requirements file, without its options and comments."""
    lines = (line.split(" #")[0].strip() for line in looking.text(path).splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def test_extras(project: dict[str, Any], config: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Return the extras that tests are usually kept in: of `[project]`, else of `setup.cfg`."""
    extras = {name: strings(items) for name, items in table(project.get("optional-dependencies")).items()}
    for name, lines in config.get("options.extras_require", {}).items():
        extras.setdefault(name, [line.strip() for line in lines.splitlines() if line.strip()])
    return {name: extras[name] for name in EXTRAS if name in extras}


def group_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Return what the dependency groups for tests hold (PEP 735), with the groups they include."""
    groups = table(pyproject.get("dependency-groups"))
    found: list[str] = strings(table(table(pyproject.get("tool")).get("uv")).get("dev-dependencies"))
    seen: set[str] = set()
    pending = [name for name in EXTRAS if name in groups]
    while pending:
        name = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        found += strings(groups.get(name))
        included = [text(entry.get("include-group")) for entry in tables(groups.get(name))]
        pending += [group for group in included if group]
    return found


def poetry_requirements(pyproject: dict[str, Any], main: bool) -> list[str]:
    """Return Poetry's requirements for tests, and its main ones where asked for, in pip's form."""
    poetry = table(table(pyproject.get("tool")).get("poetry"))
    tables = [table(poetry.get("dependencies"))] if main else []
    tables.append(table(poetry.get("dev-dependencies")))
    groups = table(poetry.get("group"))
    tables += [table(table(groups.get(name)).get("dependencies")) for name in EXTRAS]
    found: list[str] = []
    for entries in tables:
        for name, value in entries.items():
            version = value if isinstance(value, str) else text(table(value).get("version"))
            if name.lower() != "python" and (isinstance(value, str) or version):
                found.append(f"{name}{_poetry_version(version)}")
    return found


def _poetry_version(version: str) -> str:
    version = version.strip()
    if version in ("", "*"):
        return ""
    match = re.fullmatch(r"([\^~])\s*(\d+(?:\.\d+)*)", version)
    if match is None:
        return f"=={version}" if version[0].isdigit() else version.replace(" ", "")
    numbers = [int(part) for part in match.group(2).split(".")]
    if match.group(1) == "~":
        keep = min(len(numbers), 2)
    else:
        keep = next((at for at, number in enumerate(numbers, 1) if number), len(numbers))
    upper = [*numbers[: keep - 1], numbers[keep - 1] + 1]
    return f">={match.group(2)},<{'.'.join(map(str, upper))}"


def quoted(requirements: list[str]) -> list[str]:
    """Return requirements ready for a command line; what does not look like one is left out."""
    kept = dict.fromkeys(item.strip() for item in requirements if _SAFE.fullmatch(item.strip()))
    return [shlex.quote(item) for item in kept]
