"""A house of its own for each test, called inside this process."""

import pytest

from tests.cli.conftest import Answer, calling
from tests.house import House


@pytest.fixture
def answer(house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Answer:
    """Call the command line of the test's house."""
    return calling(house, monkeypatch, capfd)
