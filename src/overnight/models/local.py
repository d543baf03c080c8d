"""What `overnight model list|pull|remove|serve` do, without printing: facts in, facts out."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from overnight.domain.errors import ModelUnavailableError, NotFoundError
from overnight.models.catalog import PROVIDERS
from overnight.models.fetch import remove_model
from overnight.models.interface import OnWaiting
from overnight.models.model_file import QWEN_CODER, ModelStore
from overnight.models.open import (
    ModelSettings,
    ensure_embedded,
    models_directory,
    require_engine,
    server_parameters,
)
from overnight.models.server import ModelServer, ServerStatus

SERVE_ORPHAN_SECONDS = 2.0
FOREVER_SECONDS = 1e9


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded model as it stands on this machine. Sizes in bytes."""

    name: str
    file: str
    path: str
    size: int
    on_disk: int
    """Bytes that are there; less than `size` while it is being fetched."""
    ready: bool
    """All of it is there and its hash was right."""
    server: ServerStatus


class ProviderEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, and whether its key is set. The key itself is never shown."""

    name: str
    ready: bool
    key_name: str
    """The variable that holds the key, or those that may."""
    key_optional: bool
    address_name: str
    """The variable that holds its address, if it is another than usual."""
    usual_address: str
    """Empty where it has none: then `address_name` must be set."""

    @property
    def standing(self) -> str:
        """Whether it can be used, and which variable decides it, in words."""
        if not self.key_optional:
            return f"{'ready' if self.ready else 'not set'} ({self.key_name})"
        if not self.ready:
            return f"not set ({self.address_name})"
        usual = f" if not {self.usual_address}" if self.usual_address else ""
        return f"no key needed ({self.address_name}{usual})"


class ModelListing(msgspec.Struct, frozen=True, kw_only=True):
    """What `model list` shows."""

    local: tuple[LocalModel, ...]
    providers: tuple[ProviderEntry, ...]


def list_models(settings: ModelSettings) -> ModelListing:
    """Tell how the local models and the providers stand; starts and reads nothing large."""
    store = ModelStore(models_directory(settings), QWEN_CODER)
    found = next((path for path in (store.path, store.part) if path.exists()), None)
    local = LocalModel(
        name="embedded",
        file=QWEN_CODER.name,
        path=str(store.path),
        size=QWEN_CODER.size,
        on_disk=found.stat().st_size if found else 0,
        ready=store.trusted(),
        server=ModelServer(settings.cache, server_parameters(settings)).status(),
    )
    providers: list[ProviderEntry] = []
    for provider in PROVIDERS.values():
        key = next((name for name in provider.keys if settings.keys.get(name)), "")
        addressed = bool(provider.base_url or settings.keys.get(provider.base_url_key))
        ready = bool(key) if not provider.key_optional else addressed
        providers.append(
            ProviderEntry(
                name=provider.name,
                ready=ready,
                key_name=key or " or ".join(provider.keys),
                key_optional=provider.key_optional,
                address_name=provider.base_url_key,
                usual_address=provider.base_url,
            )
        )
    return ModelListing(local=(local,), providers=tuple(providers))


async def pull_model(name: str, settings: ModelSettings) -> Path:
    """Fetch a local model if it is not there; progress goes to `settings.on_fetch`."""
    _require_local(name)
    return await ensure_embedded(settings)


async def remove_local_model(name: str, settings: ModelSettings) -> int:
    """End the model's server, delete its file and return the bytes freed."""
    _require_local(name)
    await ModelServer(settings.cache, server_parameters(settings)).stop()
    return await remove_model(QWEN_CODER, models_directory(settings))


async def serve_model(
    settings: ModelSettings,
    port: int,
    on_ready: Callable[[str, str], None],
    on_waiting: OnWaiting | None = None,
) -> None:
    """Serve the embedded model on loopback until canceled; `on_ready` gets the base URL and the token.

    The base URL is one for OpenAI-compatible clients. The server ends soon after this call does.

    Raises:
        ModelUnavailableError: the server ended by itself, or cannot start (is the port free?).
    """
    require_engine()
    await ensure_embedded(settings, on_waiting)
    parameters = msgspec.structs.replace(
        server_parameters(settings),
        port=port,
        idle_seconds=FOREVER_SECONDS,
        orphan_seconds=SERVE_ORPHAN_SECONDS,
    )
    server = ModelServer(settings.cache, parameters)
    try:
        state = await server.endpoint(on_waiting)
        on_ready(f"{state.url}/v1", state.token)
        while server.files.alive():  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(1.0)
        raise ModelUnavailableError("The model server ended.", f"Its log is {server.files.log}.")
    finally:
        await server.stop()
        server.close()


def _require_local(name: str) -> None:
    if name not in ("embedded", QWEN_CODER.name):
        raise NotFoundError(f"There is no local model {name!r}.", "The only one is `embedded`.")
