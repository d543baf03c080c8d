"""A real database file for each test, for the conftest of packages that want one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from overnight.store.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the test's database lies."""
    return tmp_path / "data" / "overnight.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """Yield an open, fresh database."""
    opened = await Database.open(path)
    yield opened
    await opened.close()
