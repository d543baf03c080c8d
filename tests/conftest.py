"""What every test shares: the event loop, and a guard that makes a paid model call impossible."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.house import House, make_repository

PAID_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY")
for _key in PAID_KEYS:
    os.environ.pop(_key, None)


# A busy machine makes any example slow once; no test here is about time.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


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
