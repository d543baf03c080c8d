"""Opening a model by the name that the user wrote: `embedded`, `scripted:PATH`, `provider:name`, a chain."""

import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import UsageError
from overnight.models.catalog import EMBEDDED, PROVIDERS
from overnight.models.embedded import EmbeddedModel
from overnight.models.fallback import FallbackModel
from overnight.models.fetch import ensure_model
from overnight.models.interface import Model, OnWaiting
from overnight.models.model_file import QWEN_CODER, FetchProgress
from overnight.models.overrides import ModelOverride, apply_overrides
from overnight.models.scripted import load_script
from overnight.models.server import ModelServer
from overnight.models.server_files import ServerParameters

WORDS_SECONDS = 2.0


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the edge knows and models need; nothing here is read from the environment below it."""

    cache: Path
    """The user's cache folder for Overnight; models and the server's files lie beneath it."""
    keys: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """Variables such as OPENAI_API_KEY and OPENAI_BASE_URL; see `key_names`."""
    threads: int | None = None
    """Threads of the embedded model; by default the cores this process may use."""
    context_tokens: int = EMBEDDED.context_tokens
    parallel: int = EMBEDDED.parallel
    """Requests that the embedded model decodes at the same time."""
    overrides: Mapping[str, ModelOverride] = msgspec.field(default_factory=dict[str, ModelOverride])
    """What the configuration says of models, by `provider:name`."""
    on_fetch: Callable[[FetchProgress], None] | None = None
    """Gets the progress when the model file has to be fetched; else `on_waiting` gets it as text."""


def key_names() -> tuple[str, ...]:
    """Return the names of all variables that `ModelSettings.keys` should hold where they are set."""
    names = [
        name for p in PROVIDERS.values() for name in (*p.keys, *((p.base_url_key,) if p.base_url_key else ()))
    ]
    return tuple(dict.fromkeys(names))


def open_model(spec: str, settings: ModelSettings) -> Model:
    """Return the model that `spec` names: `embedded`, `embedded:FILE.gguf`, `scripted:PATH`, `provider:name`.

    Several with `>` between them are a chain: where one is not available, the next is asked.

    Raises:
        UsageError: there is no such model or provider, or the extra that it needs is not installed.
        CredentialError: the provider's key is not set.
    """
    chain = [name.strip() for name in spec.split(">")]
    if len(chain) == 1:
        override = settings.overrides.get(spec)
        chain += override.fallbacks if override is not None else ()
    if len(set(chain)) < len(chain):
        raise UsageError(f"The chain of models {' > '.join(chain)} names one twice.", "Name each once.")
    if len(chain) == 1:
        return _open_one(spec, settings)
    return FallbackModel(spec, [_open_one(name, settings) for name in chain])


def _open_one(spec: str, settings: ModelSettings) -> Model:
    kind, _, name = spec.partition(":")
    if kind == "embedded":
        return _open_embedded(spec, name, settings)
    if kind == "scripted" and name:
        return load_script(Path(name), spec)
    if kind in PROVIDERS and name:
        from overnight.models.provider_open import open_provider
        from overnight.models.provider_prices import priced_profile

        profile = apply_overrides(priced_profile(PROVIDERS[kind], name), settings.overrides)
        return open_provider(PROVIDERS[kind], name, settings.keys, profile)
    raise UsageError(
        f"There is no model {spec!r}.",
        "Write `embedded`, `embedded:FILE.gguf`, `scripted:FILE`, or `provider:name` with one of these "
        f"providers: {', '.join(PROVIDERS)}. A chain: 'provider:name > provider:name'.",
    )


def server_parameters(settings: ModelSettings, path: Path | None = None) -> ServerParameters:
    """Return how the embedded model's server is run under these settings."""
    return ServerParameters(
        model_path=str(path or models_directory(settings) / QWEN_CODER.name),
        threads=settings.threads or len(os.sched_getaffinity(0)),
        context_tokens=settings.context_tokens,
        parallel=settings.parallel,
    )


def models_directory(settings: ModelSettings) -> Path:
    """Return the folder that keeps model files."""
    return settings.cache / "models"


async def ensure_embedded(settings: ModelSettings, on_waiting: OnWaiting | None = None) -> Path:
    """Return the embedded model's file, fetching it on first use; see `fetch.ensure_model`."""

    told = 0.0

    def report(progress: FetchProgress) -> None:
        nonlocal told
        if settings.on_fetch is not None:
            settings.on_fetch(progress)
        elif on_waiting is not None and time.monotonic() - told > WORDS_SECONDS:
            # Words end up in an event log, where a line a second is already much.
            told = time.monotonic()
            on_waiting(str(progress))

    return await ensure_model(QWEN_CODER, models_directory(settings), report)


def require_engine() -> None:
    """Raise UsageError where the embedded model's engine is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise UsageError(
            "The embedded model's engine is not installed.",
            "In Overnight's source folder, run: pip install '.[embedded]'",
        )


def _open_embedded(spec: str, file: str, settings: ModelSettings) -> Model:
    require_engine()
    profile = msgspec.structs.replace(
        EMBEDDED, name=spec, context_tokens=settings.context_tokens, parallel=settings.parallel
    )
    profile = apply_overrides(profile, settings.overrides)
    if not file:
        server = ModelServer(settings.cache, server_parameters(settings))
        return EmbeddedModel(spec, profile, server, lambda waiting: ensure_embedded(settings, waiting))
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"There is no model file {path}.", "Name a GGUF file: embedded:/path/to/model.gguf")
    return EmbeddedModel(spec, profile, ModelServer(settings.cache, server_parameters(settings, path)))
