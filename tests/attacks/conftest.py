"""What all attacks share: the place, the malicious agent, and the table of what held."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.attacks.hostile import Place
from tests.attacks.scripted import BACKENDS, Villain, unavailable
from tests.attacks.table import Table

HOST = "host"
"""The column of attacks in which no sandbox takes part."""


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """Return a place, made once; every attack gets a workspace of its own there."""
    root = Path(tempfile.mkdtemp(prefix="overnight-attacks-"))
    root.chmod(0o755)
    yield asyncio.run(Place.make(root))
    shutil.rmtree(root, ignore_errors=True)


SLOW = {"container": pytest.mark.full}
"""An engine takes a second for what the others do in milliseconds."""


@pytest.fixture(params=[pytest.param(name, marks=SLOW.get(name, ())) for name in BACKENDS])
def backend(request: pytest.FixtureRequest) -> str:
    """Return the name of each sandbox that this machine can run; elsewhere the case is not applicable."""
    name: str = request.param
    if reason := unavailable(name):
        pytest.skip(reason)
    return name


@pytest.fixture
def villain(backend: str) -> Iterator[Villain]:
    """Return a malicious agent with a repository and a data directory of its own."""
    root = Path(tempfile.mkdtemp(prefix="overnight-villain-"))
    # Another user than ours runs what is inside, and must be able to come here.
    root.chmod(0o755)
    yield Villain(root, backend)
    shutil.rmtree(root, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the table."""
    parser.addoption("--attack-table", metavar="PATH", help="write case × sandbox → outcome there, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Collect outcomes where the reports come together: in the one process that starts the others."""
    path: str | None = config.getoption("--attack-table", None)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(Path(path)), "attack-table")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Write the numbers of the cases and the sandbox's name into the report."""
    report: pytest.TestReport = yield  # type: ignore[misc]
    cases = sorted({number for mark in item.iter_markers("attack") for number in mark.args})
    if cases:
        properties = cast(list[tuple[str, object]], report.user_properties)  # pyright: ignore[reportUnknownMemberType]
        properties.append(("attack", (cases, _column(item))))
    return report  # type: ignore[return-value]


def _column(item: pytest.Item) -> str:
    """Return the name of the sandbox that a test ran in."""
    params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    place: object = getattr(item, "funcargs", {}).get("place")
    default = place.backend.name if isinstance(place, Place) else HOST
    return str(params.get("backend", default))
