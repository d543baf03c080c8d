"""A folder for sandboxes, and the names of the shipped cases."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.sandbox.conformance import Case


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that an unprivileged uid may reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="overnight-sandbox-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def case_name(case: Case) -> str:
    """Return the name that a case of the suite has in test ids."""
    return getattr(case, "__name__", str(case))
