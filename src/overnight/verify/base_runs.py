"""Keeps runs on the base, so that a snapshot's checks run once however many attempts are verified."""

import asyncio
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from overnight.domain.limits import Limits
from overnight.domain.verdict import CheckRun
from overnight.verify.runners.watch import VERSION


class BaseRuns:
    """A directory of base runs. Several processes may share it; the last one to write wins.

    `machine` names what runs depend on besides the snapshot, such as the programs of the host.
    """

    def __init__(self, root: Path, machine: str = "") -> None:
        self._root = root
        self._machine = machine
        self._locks: dict[str, asyncio.Lock] = {}

    def key(self, snapshot: str, check: str, limits: Limits) -> str:
        """Return the name of a check's runs; other limits may end a run in another way."""
        return hashlib.sha256(
            msgspec.json.encode([VERSION, self._machine, snapshot, check, limits])
        ).hexdigest()

    def lock(self, key: str) -> asyncio.Lock:
        """Return the lock that keeps attempts of one process from running the same base at once."""
        return self._locks.setdefault(key, asyncio.Lock())

    def load(self, key: str) -> tuple[CheckRun, ...]:
        """Return the runs that are kept, oldest first; a file that cannot be read counts as none."""
        try:
            return msgspec.msgpack.decode((self._root / key).read_bytes(), type=tuple[CheckRun, ...])
        except (OSError, msgspec.MsgspecError):
            return ()

    def save(self, key: str, runs: tuple[CheckRun, ...]) -> None:
        """Keep the runs; a full disk loses time, not the verdict."""
        with suppress(OSError):
            self._root.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._root, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.msgpack.encode(runs))
            Path(name).replace(self._root / key)
