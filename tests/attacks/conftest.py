"""The place that all attacks share."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.hostile import Place


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """Return a place, made once; every attack gets a workspace of its own there."""
    root = Path(tempfile.mkdtemp(prefix="overnight-attacks-"))
    root.chmod(0o755)
    yield asyncio.run(Place.make(root))
    shutil.rmtree(root, ignore_errors=True)
