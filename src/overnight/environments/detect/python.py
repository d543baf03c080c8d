"""Python: pip or uv, pytest or unittest."""

import re
import shlex
from typing import Any

import msgspec

from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.reader import Looking, strings, table
from overnight.environments.detect.requirements import (
    group_requirements,
    is_named,
    listed,
    poetry_requirements,
    quoted,
    requirement_files,
    test_extras,
)
from overnight.environments.detect.wanted import is_python_test
from overnight.sandbox.interface import DEPENDENCIES

VENV = f"{DEPENDENCIES}/venv"
VARIABLES = {
    # Python takes a .pyc for fresh by the second of its source's time: two edits within one would hide.
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
}

_PYTEST_SECTIONS = (("pytest.ini", "pytest"), ("tox.ini", "pytest"), ("setup.cfg", "tool:pytest"))
_LOCKS = ("pyproject.toml", "setup.py", "setup.cfg", "uv.lock", "poetry.lock", "tox.ini")
_IMPORTS_PYTEST = re.compile(r"^\s*(import|from)\s+pytest\b", re.MULTILINE)
_TEST_CASE = re.compile(r"\bTestCase\b|\bunittest\b|\bdoctest\b")
_TEST_FUNCTION = re.compile(r"^(async\s+)?def test", re.MULTILINE)
_SETUP_REQUIRES = re.compile(r"install_requires\s*=\s*(\[\s*[\"'r]|\(|[A-Za-z_])")


class _Project(msgspec.Struct, frozen=True, kw_only=True):
    """What the project's own files declare."""

    packaged: bool
    """There is something that pip can install."""
    needed: tuple[str, ...]
    """Why the package must be installed for its tests to run; empty where it need not be."""
    extras: tuple[str, ...]
    requirements: tuple[str, ...]
    files: tuple[str, ...]


def detect_python(looking: Looking, host: Host) -> Found | None:
    """Return what a Python repository needs, or None where there is no Python in it."""
    marks = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tox.ini")
    tests = [path for path in looking.all if is_python_test(path)]
    if not any(looking.has(mark) for mark in marks) and not any(path.endswith(".py") for path in looking.all):
        return None
    pyproject = looking.toml("pyproject.toml") if looking.has("pyproject.toml") else {}
    project = _declared(looking, pyproject)
    runner = _runner(looking, pyproject, project, tests)
    check = _check(looking, runner, tests)
    found = Found(
        language="python",
        checks=(check,) if check else (),
        variables=dict(VARIABLES),
        tools=("python3",),
        lock_files=(*(path for path in _LOCKS if looking.has(path)), *project.files),
    )
    return _with_setup(looking, host, found, project, runner)


def _declared(looking: Looking, pyproject: dict[str, Any]) -> _Project:
    tool = table(pyproject.get("tool"))
    metadata = table(pyproject.get("project"))
    poetry = table(tool.get("poetry"))
    needed: list[str] = []
    if strings(metadata.get("dependencies")):
        needed.append("pyproject.toml: dependencies are declared")
    if [name for name in table(poetry.get("dependencies")) if name.lower() != "python"]:
        needed.append("pyproject.toml: Poetry dependencies are declared")
    if strings(metadata.get("dynamic")) and "dependencies" in strings(metadata.get("dynamic")):
        needed.append("pyproject.toml: dependencies are dynamic")
    config = looking.ini("setup.cfg") if looking.has("setup.cfg") else {}
    if config.get("options", {}).get("install_requires", "").strip():
        needed.append("setup.cfg: install_requires")
    extras = test_extras(metadata, config)
    if any(not is_named([item], "pytest") for items in extras.values() for item in items):
        needed.append("extras of the tests are declared")
    if looking.has("setup.py") and _SETUP_REQUIRES.search(looking.text("setup.py")):
        needed.append("setup.py: install_requires")
    packaged = bool(metadata or poetry.get("name") or looking.has("setup.py")) or "metadata" in config
    if packaged and any(re.fullmatch(r"src/[^/]+(/__init__)?\.py", path) for path in looking.all):
        needed.append("src layout: the package is not importable from the root")
    if poetry.get("package-mode") is False:
        packaged = False
    files = requirement_files(looking)
    requirements = group_requirements(pyproject) + poetry_requirements(pyproject, main=not packaged)
    return _Project(
        packaged=packaged,
        needed=tuple(needed) if packaged else (),
        extras=tuple(extras) if packaged else (),
        requirements=tuple(requirements),
        files=tuple(path for path in files if listed(looking, path) or "-r" in looking.text(path)),
    )


def _runner(looking: Looking, pyproject: dict[str, Any], project: _Project, tests: list[str]) -> str:
    """Return `pytest`, `unittest` or nothing, and note why."""
    options = table(table(pyproject.get("tool")).get("pytest"))
    if options:
        looking.note("pyproject.toml", "pytest is configured")
        return "pytest"
    for path, section in _PYTEST_SECTIONS:
        if looking.has(path) and (section in looking.ini(path) or path == "pytest.ini"):
            looking.note(path, "pytest is configured")
            return "pytest"
    texts = {path: looking.text(path) for path in tests if looking.reader.read(path) is not None}
    for path, content in texts.items():
        if _IMPORTS_PYTEST.search(content):
            looking.note(path, "imports pytest")
            return "pytest"
    conftest = next((path for path in looking.all if path.split("/")[-1] == "conftest.py"), None)
    if conftest is not None:
        looking.note(conftest, "pytest")
        return "pytest"
    for path, content in texts.items():
        if _TEST_FUNCTION.search(content) and not _TEST_CASE.search(content):
            looking.note(path, "tests are plain functions: pytest")
            return "pytest"
    if any(_TEST_CASE.search(content) for content in texts.values()):
        looking.note(next(path for path, text in texts.items() if _TEST_CASE.search(text)), "unittest")
        return "unittest"
    listed_ones = [item for path in project.files for item in listed(looking, path)]
    if tests and is_named([*project.requirements, *listed_ones], "pytest"):
        looking.note("requirements", "pytest is wanted")
        return "pytest"
    return ""


def _check(looking: Looking, runner: str, tests: list[str]) -> str:
    if runner == "pytest":
        return "python3 -m pytest -q"
    if runner != "unittest":
        return ""
    folders = {path.split("/")[0] for path in tests if "/" in path}
    at_root = any("/" not in path for path in tests)
    plain = [folder for folder in sorted(folders) if not looking.has(f"{folder}/__init__.py")]
    if not at_root and len(folders) == 1 and plain:
        return f"python3 -m unittest discover -s {shlex.quote(plain[0])}"
    return "python3 -m unittest"


def _with_setup(looking: Looking, host: Host, found: Found, project: _Project, runner: str) -> Found:
    """Add how to install: the project and its requirements, or only the runner, or nothing at all."""
    path = (f"{VENV}/bin",)
    if "uv" in host.programs and looking.has("uv.lock") and project.packaged:
        looking.note("uv.lock", "uv sync")
        command = "uv sync --frozen --compile-bytecode --all-extras --all-groups"
        if runner == "pytest":
            install = f"uv pip install --compile-bytecode -p {VENV} pytest"
            command += f" && {{ {VENV}/bin/python -c 'import pytest' || {install}; }}"
        variables = {**found.variables, "UV_PROJECT_ENVIRONMENT": VENV, "UV_LINK_MODE": "copy"}
        return msgspec.structs.replace(
            found, setup=(command,), path=path, tools=("python3", "uv"), variables=variables
        )
    for line in project.needed:
        looking.sources.append(f"{line}: installed editable")
    for file in project.files:
        looking.note(file, "installed")
    wanted: list[str] = []
    if project.needed:
        extras = f"[{','.join(project.extras)}]" if project.extras else ""
        wanted += ["-e", shlex.quote(f".{extras}")]
    for file in project.files:
        wanted += ["-r", shlex.quote(file)]
    third_party = bool(wanted)
    wanted += quoted(list(project.requirements))
    if runner == "pytest":
        wanted.append("pytest")
    if third_party or quoted([item for item in project.requirements if not is_named([item], "pytest")]):
        tools = ("python3", "uv") if "uv" in host.programs else ("python3",)
        return msgspec.structs.replace(found, setup=_install(host, wanted), path=path, tools=tools)
    if runner == "pytest" and "pytest" not in host.python_modules:
        looking.sources.append("setup: only pytest has to be installed")
        tools = ("python3", "uv") if "uv" in host.programs else ("python3",)
        setup = _install(host, wanted)
        return msgspec.structs.replace(found, runner="pytest", runner_setup=setup, path=path, tools=tools)
    looking.sources.append("setup: nothing has to be installed")
    return found


def _install(host: Host, wanted: list[str]) -> tuple[str, ...]:
    if "uv" in host.programs:
        # Unlike pip, uv leaves compiling to the first import, and what is installed is read-only by then.
        install = f"uv pip install -q --compile-bytecode --python {VENV}/bin/python"
        return (f"uv venv -q {VENV}", f"{install} {' '.join(wanted)}")
    pip = f"{VENV}/bin/python -m pip --no-input --disable-pip-version-check"
    return (f"python3 -m venv {VENV}", f"{pip} install -q {' '.join(wanted)}")
