"""What is known of models and providers, as data: the embedded model, addresses, keys, defaults.

Prices and context sizes of providers' models are not here: see `provider_prices`.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from overnight.models.interface import ModelProfile

EMBEDDED = ModelProfile(
    name="embedded",
    context_tokens=8_192,
    max_output_tokens=1_024,
    tool_calls=False,
    agent="repair",
    # Measured (bench/README-model.md): a second slot reads the prompt a second time and gains nothing.
    parallel=1,
    input_price=0.0,
    output_price=0.0,
)


Wire = Literal["responses", "chat", "anthropic", "google", "openrouter"]
"""OpenAI's Responses or Chat Completions API, Anthropic's Messages, Google's Gemini, OpenRouter's chat."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that can be named in `provider:name`."""

    name: str
    keys: tuple[str, ...] = ()
    """Variables that may hold the key, best first; empty where no key is needed."""
    base_url_key: str = ""
    """The variable that may hold another base URL."""
    base_url: str = ""
    """The base URL unless that variable is set; empty leaves it to the provider's library."""
    wire: Wire = "chat"
    """What the provider speaks."""
    price_list: str = ""
    """Its name in the price list, where that is another."""
    key_optional: bool = False
    context_tokens: int = 128_000
    max_output_tokens: int = 32_000
    parallel: int = 4
    images: bool = False
    """Whether most of its models take images."""
    token_trace: bool = False


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(
            name="openai",
            keys=("OPENAI_API_KEY",),
            base_url_key="OPENAI_BASE_URL",
            base_url="https://api.openai.com/v1",
            wire="responses",
            images=True,
        ),
        Provider(
            name="openai-chat",
            keys=("OPENAI_API_KEY",),
            base_url_key="OPENAI_BASE_URL",
            base_url="https://api.openai.com/v1",
            price_list="openai",
            images=True,
        ),
        Provider(
            name="anthropic",
            keys=("ANTHROPIC_API_KEY",),
            base_url_key="ANTHROPIC_BASE_URL",
            base_url="https://api.anthropic.com",
            wire="anthropic",
            images=True,
        ),
        Provider(
            name="google",
            keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            base_url_key="GOOGLE_BASE_URL",
            wire="google",
            images=True,
        ),
        Provider(
            name="openrouter",
            keys=("OPENROUTER_API_KEY",),
            base_url_key="OPENROUTER_BASE_URL",
            base_url="https://openrouter.ai/api/v1",
            wire="openrouter",
        ),
        Provider(
            name="ollama",
            keys=("OLLAMA_API_KEY",),
            base_url_key="OLLAMA_BASE_URL",
            base_url="http://127.0.0.1:11434/v1",
            key_optional=True,
            context_tokens=32_768,
            max_output_tokens=8_192,
            parallel=2,
        ),
        Provider(
            name="vllm",
            keys=("VLLM_API_KEY",),
            base_url_key="VLLM_BASE_URL",
            base_url="http://127.0.0.1:8000/v1",
            key_optional=True,
            context_tokens=32_768,
            max_output_tokens=8_192,
            parallel=2,
            token_trace=True,
        ),
        Provider(
            name="llamacpp",
            keys=("LLAMACPP_API_KEY",),
            base_url_key="LLAMACPP_BASE_URL",
            base_url="http://127.0.0.1:8080/v1",
            key_optional=True,
            context_tokens=8_192,
            max_output_tokens=4_096,
            parallel=1,
            token_trace=True,
        ),
        Provider(
            name="openai-compatible",
            keys=("OPENAI_COMPATIBLE_API_KEY",),
            base_url_key="OPENAI_COMPATIBLE_BASE_URL",
            key_optional=True,
            context_tokens=32_768,
            max_output_tokens=8_192,
            parallel=2,
        ),
    )
}


def default_profile(provider: Provider, name: str) -> ModelProfile:
    """Return what may be expected of a provider's model of which nothing is known."""
    return ModelProfile(
        name=f"{provider.name}:{name}",
        context_tokens=provider.context_tokens,
        max_output_tokens=provider.max_output_tokens,
        parallel=provider.parallel,
        images=provider.images,
        token_trace=provider.token_trace,
    )


_DEFAULTS = {
    "anthropic": "anthropic:claude-sonnet-5-5",
    "openai": "openai:gpt-5.6-terra",
    "google": "google:gemini-3.8-flash",
}


def default_spec(keys: Mapping[str, str]) -> str:
    """Return the model to use when nobody chose one.

    The first provider whose key is among `keys` (variable name to value), the embedded one without any.
    """
    for provider, spec in _DEFAULTS.items():
        if any(keys.get(key) for key in PROVIDERS[provider].keys):
            return spec
    return "embedded"
