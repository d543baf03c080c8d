"""The rules of the house that a test can hold: arrows, rings, sizes, and where the environment is read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from overnight.cli.main import app
from overnight.domain.events import Event
from overnight.domain.limits import Limits

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "overnight"

LAYERS: dict[str, set[str]] = {
    "domain": set(),
    "store": set(),
    "events": {"store"},
    "blobs": set(),
    "git": set(),
    "sandbox": set(),
    "models": set(),
    "secrets": set(),
    "environments": {"store", "blobs", "git", "sandbox"},
    "agents": {"models", "sandbox", "blobs", "environments"},
    "verify": {"environments", "sandbox", "git", "store", "blobs", "models"},
    "forges": {"git"},
    "tasks": {"store", "events", "blobs", "git", "secrets"},
    "worker": {
        "store", "events", "blobs", "git", "sandbox", "models", "environments", "agents", "verify",
        "forges", "tasks", "secrets",
    },
    "cli": {"tasks", "store", "events"},
}  # fmt: skip
"""Who may import whom, over `domain`, which all may. `cli/wire/` may import everything."""

WIRE = "overnight.cli.wire"
ENVIRONMENT_READERS = {f"{WIRE}.environment", "overnight.models.server_process"}
"""Modules that may read the process environment: the edge, and the entry point of the model's process."""
INSIDE = ("overnight.verify.runners.inside.", "overnight.agents.repair.probe")
"""Scripts that run inside a sandbox, where the environment is what we made it."""

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
EXCEPTIONS: dict[str, str] = {}
"""`module` or `module:function` → why it may break a size rule. This list may only shrink."""


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


MODULES = modules()


def imports(name: str, path: Path) -> Iterator[str]:
    """Yield the modules of ours that `path` imports anywhere, imports hidden in functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            module = node.module or ""
            targets = [f"{module}.{alias.name}" for alias in node.names]
        for target in targets:
            while target and target not in MODULES:
                target = target.rpartition(".")[0]
            if target.startswith("overnight") and target != name:
                yield target


def layer(name: str) -> str:
    """Return the layer that a module belongs to; the package itself has none."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def allowed(name: str) -> set[str]:
    """Return the layers that `name` may import."""
    if f"{name}.".startswith(f"{WIRE}."):
        return set(LAYERS)
    return LAYERS[layer(name)] | {layer(name), "domain"}


@pytest.mark.parametrize("name", [name for name in MODULES if layer(name) and not name.endswith("__main__")])
def test_arrows_point_down(name: str) -> None:
    assert layer(name) in LAYERS, f"{name} belongs to no layer of the design"
    wrong = {
        target
        for target in imports(name, MODULES[name])
        if layer(target) and layer(target) not in allowed(name)
    }
    assert not wrong


def test_there_are_no_rings() -> None:
    graph = {name: set(imports(name, path)) for name, path in MODULES.items()}
    state: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        state[name] = "open"
        for target in graph[name]:
            # A package's `__init__` that gathers its own modules is not a ring.
            if target == name or name.startswith(target + "."):
                continue
            assert state.get(target) != "open", " → ".join((*trail, name, target))
            if target not in state:
                visit(target, (*trail, name))
        state[name] = "done"

    for name in graph:
        if name not in state:
            visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_files_stay_small(name: str) -> None:
    lines = len(MODULES[name].read_text().splitlines())
    assert lines <= MAX_FILE_LINES or name in EXCEPTIONS, f"{name}: {lines} lines"


@pytest.mark.parametrize("name", MODULES)
def test_functions_do_one_thing(name: str) -> None:
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES or f"{name}:{node.name}" in EXCEPTIONS, f"{node.name}: {lines}"


@pytest.mark.parametrize("name", MODULES)
def test_only_the_edge_reads_the_environment(name: str) -> None:
    if name in ENVIRONMENT_READERS or name.startswith(INSIDE):
        return
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        names: set[str] = set()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            names = {node.attr}
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names = {alias.name for alias in node.names}
        assert not names & {"environ", "environb", "getenv"}, f"line {getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_owns(name: str) -> None:
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text()))
    assert docstring, f"{name} has no docstring"


def test_the_list_of_exceptions_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        for name, why in EXCEPTIONS.items():
            print(f"architecture exception: {name}: {why}")  # noqa: T201
    assert not EXCEPTIONS


def test_every_setting_limit_and_event_is_described() -> None:
    reference = (SOURCE.parent / "docs" / "reference.md").read_text()
    names = {str(event.__struct_config__.tag) for event in get_args(Event)}
    names |= set(Limits.__struct_fields__)
    names |= set(re.findall(r"OVERNIGHT_[A-Z_]+", MODULES[f"{WIRE}.environment"].read_text()))
    assert {name for name in names if f"`{name}`" not in reference} == set()


def test_every_command_is_described() -> None:
    readme = (SOURCE.parent / "README.md").read_text()
    names = [
        f"overnight {command.name or command.callback.__name__}"
        for command in app.registered_commands
        if command.callback
    ]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            names.append(f"overnight {group.name} {command.name or command.callback.__name__}")
    assert [name for name in names if name not in readme] == []
