"""Models: which ones a run uses, each opened once, and the embedded one fetched, served and removed."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from overnight.cli.configuration import read_configuration
from overnight.cli.download import DownloadBar
from overnight.cli.settings import Settings
from overnight.models.catalog import default_spec
from overnight.models.interface import Model
from overnight.models.local import ModelListing, list_models, remove_local_model, serve_model
from overnight.models.model_file import FetchProgress
from overnight.models.open import ModelSettings, ensure_embedded, key_names, open_model
from overnight.models.overrides import ModelOverride, read_overrides
from overnight.tasks.recordings import REPLAY, Recordings


class Models:
    """The models of one process, by the name that `--model` takes."""

    def __init__(self, settings: Settings, recordings: Recordings) -> None:
        self._settings = settings
        self._recordings = recordings
        self._open: dict[str, Model] = {}
        self._replayed: dict[str, str] = {}
        """The agent of each recording that was asked for."""

    @functools.cached_property
    def _overrides(self) -> Mapping[str, ModelOverride]:
        file = self._settings.configuration
        return read_overrides(read_configuration(file, "models"), str(file))

    async def close(self) -> None:
        """Close those that were opened."""
        for model in self._open.values():
            await model.close()

    def choose(self, wanted: Sequence[str]) -> tuple[tuple[str, ...], str]:
        """Return the models to use, and a line that says why when nobody chose one."""
        if wanted:
            return tuple(wanted), ""
        if self._settings.model:
            return (self._settings.model,), f"Using {self._settings.model} (OVERNIGHT_MODEL)."
        spec = default_spec(self._settings.environment)
        if spec == "embedded":
            return (spec,), "No API key is set: using the embedded model (any other: --model provider:name)."
        return (spec,), f"Using {spec}, for which a key is set (any other: --model provider:name)."

    async def name(self, specs: Sequence[str]) -> tuple[str, ...]:
        """Return the models by names that mean the same later: those of recordings with the whole id or path.

        Raises:
            UsageError: there is no such recording.
        """
        named: list[str] = []
        for spec in specs:
            if spec.startswith(REPLAY):
                recording = await self._recordings.read(spec)
                path = Path(spec.removeprefix(REPLAY))
                spec = REPLAY + (str(path.resolve()) if path.is_file() else recording.attempt)
                self._replayed[spec] = recording.agent
            named.append(spec)
        return tuple(named)

    def agent_for(self, spec: str) -> str:
        """Return the agent that suits a model: for a recording the one that was recorded.

        Raises:
            UsageError: no such provider.
            CredentialError: its key is not set.
        """
        return self._replayed.get(spec) or self.open(spec).profile.agent

    def open(self, spec: str) -> Model:
        """Return the model of that name; one object a process.

        Raises:
            UsageError: no such provider.
            CredentialError: its key is not set.
        """
        if spec not in self._open:
            self._open[spec] = open_model(spec, self._model_settings())
        return self._open[spec]

    async def fetch(self, specs: Iterable[str], console: Console) -> None:
        """Make sure that every model can be opened, fetching the embedded one with a progress bar."""
        for spec in dict.fromkeys(specs):
            if spec.startswith(REPLAY):
                continue
            self.open(spec)
            if spec == "embedded":
                await self.pull(console)

    async def pull(self, console: Console) -> Path:
        """Return the embedded model's file, fetched with a progress bar if it is not there yet."""
        bar = DownloadBar(console)
        try:
            return await ensure_embedded(self._model_settings(bar))
        finally:
            bar.close()

    def listing(self) -> ModelListing:
        """Tell how the embedded model and the providers stand."""
        return list_models(self._model_settings())

    async def remove(self) -> int:
        """Stop the embedded model's server, delete its file, return the bytes freed."""
        return await remove_local_model("embedded", self._model_settings())

    async def serve(self, port: int, console: Console, on_ready: Callable[[str, str], None]) -> None:
        """Serve the embedded model on loopback until canceled; `on_ready` gets base URL and token."""
        await self.pull(console)
        await serve_model(self._model_settings(), port, on_ready, lambda line: console.print(line))

    def _model_settings(self, bar: DownloadBar | None = None) -> ModelSettings:
        """Return what the models layer needs to know; `bar` shows a fetch."""

        def on_fetch(progress: FetchProgress) -> None:
            if bar is not None:
                bar.update(progress.phase, progress.done, progress.total, str(progress))

        keys = {name: self._settings.environment.get(name, "") for name in key_names()}
        return ModelSettings(
            cache=self._settings.cache,
            keys={name: value for name, value in keys.items() if value},
            overrides=self._overrides,
            on_fetch=on_fetch if bar is not None else None,
        )
