"""What every test shares: the event loop, and a guard that makes a paid model call impossible."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.house import House, make_repository

PAID_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY")
for _key in PAID_KEYS:
    os.environ.pop(_key, None)

# A slow machine is no failure, and two runs of one tree draw the same inputs; look further by hand with
# `--hypothesis-profile=default`.
settings.register_profile(
    "overnight", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("overnight")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run a folder of its own.

    pytest would share one among all runs of a user, and fail where an earlier one was killed and left
    something that cannot be removed.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="overnight-tests-")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder, as far as that goes."""
    folder = Path(config.option.basetemp)
    if not hasattr(config, "workerinput") and folder.name.startswith("overnight-tests-"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio only: it is the only loop that Overnight runs on."""
    return "asyncio"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house with an empty data directory."""
    root = tmp_path / "house"
    root.mkdir()
    return House(root)


@pytest.fixture
def buggy(tmp_path: Path) -> Path:
    """Return a small repository with a bug and a failing test."""
    return make_repository(tmp_path / "buggy")
