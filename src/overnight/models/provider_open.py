"""Opening a provider's model: its key, its address, and the library's class that speaks its wire format."""

import importlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from overnight.domain.errors import CredentialError, UsageError
from overnight.models.catalog import Provider
from overnight.models.interface import ModelProfile
from overnight.models.providers import ProviderModel

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI
    from pydantic_ai.models import Model as LibraryModel

CONNECT_SECONDS = 30.0


def open_provider(
    provider: Provider, name: str, keys: Mapping[str, str], profile: ModelProfile
) -> ProviderModel:
    """Return the model `name` of a provider; `keys` holds variables such as OPENAI_API_KEY.

    Raises:
        UsageError: the extra `providers` is not installed, or no base URL is known.
        CredentialError: the provider's key is not set.
    """
    try:
        import httpx2

        importlib.import_module("pydantic_ai.models.openai")
    except ImportError as error:
        raise UsageError(
            f"The libraries for {provider.name} are not installed.",
            "In Overnight's source folder, run: pip install '.[providers]'",
        ) from error
    key_name = next((key for key in provider.keys if keys.get(key)), "")
    if not key_name and not provider.key_optional:
        raise CredentialError(
            f"{provider.name} needs a key and none is set.", f"Set {' or '.join(provider.keys)}."
        )
    base_url = keys.get(provider.base_url_key, "") or provider.base_url
    if not base_url and provider.name == "openai-compatible":
        raise UsageError("No address is known for openai-compatible.", f"Set {provider.base_url_key}.")
    # Models that choose their own temperature: the library drops ours, which is all that can be done.
    warnings.filterwarnings("ignore", message="Sampling parameters", category=UserWarning)
    # A redirect would carry the key to wherever it points.
    client = httpx2.AsyncClient(timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS), follow_redirects=False)
    model = _library_model(provider, name, keys.get(key_name, "") or "none", base_url or None, client)
    return ProviderModel(f"{provider.name}:{name}", profile, model, client, key_name)


def _library_model(
    provider: Provider, name: str, key: str, base_url: str | None, client: "httpx2.AsyncClient"
) -> "LibraryModel[Any]":
    match provider.wire:
        case "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            return AnthropicModel(
                name, provider=AnthropicProvider(api_key=key, base_url=base_url, http_client=client)
            )
        case "google":
            from pydantic_ai.models.google import GoogleModel
            from pydantic_ai.providers.google import GoogleProvider

            return GoogleModel(
                name, provider=GoogleProvider(api_key=key, base_url=base_url, http_client=client)
            )
        case "openrouter":
            from pydantic_ai.models.openrouter import OpenRouterModel
            from pydantic_ai.providers.openrouter import OpenRouterProvider

            return OpenRouterModel(
                name, provider=OpenRouterProvider(openai_client=_openai_client(key, base_url, client))
            )
        case "chat" | "responses":
            from pydantic_ai.models.openai import (
                OpenAIChatModel,
                OpenAIResponsesModel,
                OpenAIResponsesModelSettings,
            )
            from pydantic_ai.providers.openai import OpenAIProvider

            library_provider = OpenAIProvider(openai_client=_openai_client(key, base_url, client))
            if provider.wire == "responses":
                # Kept nowhere but with us: reasoning comes back encrypted, and we send it along.
                return OpenAIResponsesModel(
                    name, provider=library_provider, settings=OpenAIResponsesModelSettings(openai_store=False)
                )
            return OpenAIChatModel(name, provider=library_provider)


def _openai_client(key: str, base_url: str | None, client: "httpx2.AsyncClient") -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    return AsyncOpenAI(api_key=key, base_url=base_url, http_client=client, max_retries=0)
