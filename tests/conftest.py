"""What every test shares: the event loop, and a guard that makes a paid model call impossible."""

import os

import pytest

PAID_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY")
for _key in PAID_KEYS:
    os.environ.pop(_key, None)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio only: it is the only loop that Overnight runs on."""
    return "asyncio"
