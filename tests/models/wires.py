"""The providers as tests meet them: a server on loopback that speaks each one's wire format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from overnight.models.interface import Effort
from overnight.models.open import ModelSettings, open_model
from overnight.models.overrides import ModelOverride
from overnight.models.providers import ProviderModel
from tests.models import schemas, streams
from tests.models.loopback import Loopback

REASONING = {
    "type": "reasoning.text",
    "text": "I must look.",
    "signature": streams.SECRET_THOUGHT,
    "index": 0,
}


@dataclass(frozen=True)
class Wire:
    """One provider's wire format, as a test needs it."""

    spec: str
    url_key: str
    path: str
    calls: bytes
    text: bytes
    check: Callable[[Mapping[str, Any]], None]
    signature: str = streams.SECRET_THOUGHT
    """What of the model's thoughts must come back as it was; empty where nothing of the kind exists."""
    key: str = "OPENAI_API_KEY"

    def open(self, server: Loopback, effort: Effort = "high") -> ProviderModel:
        """Return the model at this server."""
        settings = ModelSettings(
            cache=Path("unused"),
            keys={self.key: "key-1", self.url_key: f"{server.url}{self.path}"},
            overrides={self.spec: ModelOverride(reasoning=effort)},
        )
        model = open_model(self.spec, settings)
        assert isinstance(model, ProviderModel)
        model._first_wait = 0.001  # pyright: ignore[reportPrivateUsage]
        return model


CHAT = partial(schemas.check_chat, beyond=("reasoning", "reasoning_content", "reasoning_details", "usage"))
WIRES = (
    Wire(
        "openai:gpt-5.6-terra", "OPENAI_BASE_URL", "/v1", streams.RESPONSES_CALLS,
        streams.responses(streams.response_text("Done.")), schemas.check_responses,
    ),
    Wire(
        "openai-chat:gpt-5.6-terra", "OPENAI_BASE_URL", "/v1", streams.chat_calls(), streams.chat_text(),
        schemas.check_chat, signature="",
    ),
    Wire(
        "anthropic:claude-sonnet-5-5", "ANTHROPIC_BASE_URL", "", streams.ANTHROPIC_CALLS,
        streams.anthropic_text("Done."), schemas.check_anthropic, key="ANTHROPIC_API_KEY",
    ),
    Wire(
        "google:gemini-3.8-flash", "GOOGLE_BASE_URL", "", streams.GOOGLE_CALLS,
        streams.google({"text": "Do"}, {"text": "ne."}), schemas.check_google, key="GEMINI_API_KEY",
    ),
    Wire(
        "openrouter:z-ai/glm-5", "OPENROUTER_BASE_URL", "/v1",
        streams.chat_calls({"content": "", "reasoning_details": [REASONING]}), streams.chat_text(), CHAT,
        key="OPENROUTER_API_KEY",
    ),
    Wire(
        "openai-compatible:deepseek-v4", "OPENAI_COMPATIBLE_BASE_URL", "/v1",
        streams.chat_calls({"reasoning_content": "I must look."}), streams.chat_text(), CHAT,
        signature="I must look.", key="OPENAI_COMPATIBLE_API_KEY",
    ),
)  # fmt: skip
