"""What is known of models, as data: context, prices, tool calling, the agent that suits them.

Prices are US dollars per million tokens as published by the providers; they change, so a cost shown is
an estimate. A model that is not listed gets a sensible profile of its own.
"""

from collections.abc import Mapping

import msgspec

from overnight.models.interface import ModelProfile

EMBEDDED = ModelProfile(
    name="embedded",
    context_tokens=8_192,
    max_output_tokens=1_024,
    tool_calls=False,
    agent="repair",
    parallel=2,
)


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that can be named in `provider:name`."""

    name: str
    keys: tuple[str, ...] = ()
    """Variables that may hold the key, best first; empty where no key is needed."""
    base_url_key: str = ""
    """The variable that may hold another base URL."""
    base_url: str = ""
    """The base URL unless that variable is set; empty leaves it to the provider's library."""
    wire: str = "openai"
    """What the provider speaks: `openai`, `anthropic` or `google`."""
    key_optional: bool = False


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(
            name="openai",
            keys=("OPENAI_API_KEY",),
            base_url_key="OPENAI_BASE_URL",
            base_url="https://api.openai.com/v1",
        ),
        Provider(
            name="anthropic",
            keys=("ANTHROPIC_API_KEY",),
            base_url_key="ANTHROPIC_BASE_URL",
            base_url="https://api.anthropic.com",
            wire="anthropic",
        ),
        Provider(name="google", keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"), wire="google"),
        Provider(
            name="openrouter",
            keys=("OPENROUTER_API_KEY",),
            base_url_key="OPENROUTER_BASE_URL",
            base_url="https://openrouter.ai/api/v1",
        ),
        Provider(
            name="ollama",
            keys=("OLLAMA_API_KEY",),
            base_url_key="OLLAMA_BASE_URL",
            base_url="http://127.0.0.1:11434/v1",
            key_optional=True,
        ),
        Provider(
            name="vllm",
            keys=("VLLM_API_KEY",),
            base_url_key="VLLM_BASE_URL",
            base_url="http://127.0.0.1:8000/v1",
            key_optional=True,
        ),
        Provider(
            name="openai-compatible",
            keys=("OPENAI_COMPATIBLE_API_KEY",),
            base_url_key="OPENAI_COMPATIBLE_BASE_URL",
            key_optional=True,
        ),
    )
}

_KNOWN: Mapping[str, ModelProfile] = {
    profile.name: profile
    for profile in (
        ModelProfile(
            name="openai:gpt-5",
            context_tokens=400_000,
            max_output_tokens=128_000,
            input_price=1.25,
            cached_price=0.125,
            output_price=10.0,
        ),
        ModelProfile(
            name="openai:gpt-5-mini",
            context_tokens=400_000,
            max_output_tokens=128_000,
            input_price=0.25,
            cached_price=0.025,
            output_price=2.0,
        ),
        ModelProfile(
            name="openai:gpt-4.1",
            context_tokens=1_047_576,
            max_output_tokens=32_768,
            input_price=2.0,
            cached_price=0.5,
            output_price=8.0,
        ),
        ModelProfile(
            name="anthropic:claude-opus-4",
            context_tokens=200_000,
            max_output_tokens=32_000,
            input_price=15.0,
            cached_price=1.5,
            output_price=75.0,
        ),
        ModelProfile(
            name="anthropic:claude-sonnet-4",
            context_tokens=200_000,
            max_output_tokens=64_000,
            input_price=3.0,
            cached_price=0.3,
            output_price=15.0,
        ),
        ModelProfile(
            name="anthropic:claude-haiku-4",
            context_tokens=200_000,
            max_output_tokens=64_000,
            input_price=1.0,
            cached_price=0.1,
            output_price=5.0,
        ),
        ModelProfile(
            name="google:gemini-2.5-pro",
            context_tokens=1_048_576,
            max_output_tokens=65_536,
            input_price=1.25,
            cached_price=0.31,
            output_price=10.0,
        ),
        ModelProfile(
            name="google:gemini-2.5-flash",
            context_tokens=1_048_576,
            max_output_tokens=65_536,
            input_price=0.3,
            cached_price=0.075,
            output_price=2.5,
        ),
    )
}

_LOCAL = ("ollama", "vllm")


def profile_of(spec: str) -> ModelProfile:
    """Return the profile of `provider:name`; the longest listed name that begins it, or a default."""
    fitting = [name for name in _KNOWN if spec == name or spec.startswith((f"{name}-", f"{name}@"))]
    if fitting:
        return msgspec.structs.replace(_KNOWN[max(fitting, key=len)], name=spec)
    if spec.partition(":")[0] in _LOCAL:
        return ModelProfile(name=spec, context_tokens=32_768, max_output_tokens=4_096, parallel=2)
    return ModelProfile(name=spec)


_DEFAULTS = {
    "anthropic": "anthropic:claude-sonnet-4-5",
    "openai": "openai:gpt-5",
    "google": "google:gemini-2.5-pro",
}


def default_spec(keys: Mapping[str, str]) -> str:
    """Return the model to use when nobody chose one.

    The first provider whose key is among `keys` (variable name to value), the embedded one without any.
    """
    for provider, spec in _DEFAULTS.items():
        if any(keys.get(key) for key in PROVIDERS[provider].keys):
            return spec
    return "embedded"
