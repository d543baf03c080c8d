"""The files by which clients and the model server of one user find each other: locks, state, last use.

Liveness is a kernel lock and not a process number: a lock goes when its holder dies, and is never
taken over by a stranger who happens to get the same number.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

import msgspec

from overnight.models.locks import take_lock

LOG_BYTES = 2 * 1024**2
"""The server's log is emptied when it grows beyond this many bytes."""


class ServerParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What the server runs, and how. Servers with unlike parameters live side by side."""

    model_path: str
    threads: int = 2
    context_tokens: int = 8192
    """Tokens of one slot: prompt and answer together."""
    parallel: int = 1
    """Slots: requests decoded at the same time."""
    cache_type: str = "f16"
    """Type of the key-value cache: `f16`, or `q8_0` (half the memory, about a tenth more CPU)."""
    cache_mib: int = 512
    """Memory for the states of prompts that have no slot now."""
    micro_batch: int = 512
    idle_seconds: float = 300.0
    """The server ends when nobody asked for this long."""
    orphan_seconds: float = 30.0
    """The server ends when no client process lives for this long."""
    port: int = 0
    """0 lets the system choose."""


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """What the server tells its clients; the file is readable by its user only."""

    pid: int
    process_started: str
    """The kernel's start time of the process, to tell it from a later one with the same number."""
    url: str = ""
    """Empty while the model is loading."""
    token: str = ""
    started_at: float = 0.0


class ServerFiles:
    """The folder of one server (one user, one set of parameters)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state.json"
        self.used = directory / "used"
        self.log = directory / "server.log"
        self.server_lock = directory / "server.lock"
        """Held exclusively by the server for as long as it lives."""
        self.start_lock = directory / "start.lock"
        """Held while a client starts a server, and while a server decides to end."""
        self.clients_lock = directory / "clients.lock"
        """Held shared by every client process."""

    @classmethod
    def for_parameters(cls, cache: Path, parameters: ServerParameters) -> "ServerFiles":
        """Return the folder for `parameters` beneath the cache folder."""
        digest = hashlib.sha256(msgspec.json.encode(parameters)).hexdigest()[:12]
        return cls(cache / "model-server" / digest)

    def prepare(self) -> None:
        """Make the folder, private to its user."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)

    def alive(self) -> bool:
        """Tell whether a server holds its lock."""
        try:
            lock = take_lock(self.server_lock, shared=True)
        except FileNotFoundError:
            return False
        if lock is None:
            return True
        lock.close()
        return False

    def read_state(self) -> ServerState | None:
        """Return what the server wrote, or nothing."""
        try:
            return msgspec.json.decode(self.state.read_bytes(), type=ServerState)
        except (OSError, msgspec.DecodeError):
            return None

    def write_state(self, state: ServerState) -> None:
        """Replace the state at once, readable by this user only."""
        part = self.state.with_suffix(f".{state.pid}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(state))
        part.replace(self.state)

    def touch_used(self) -> None:
        """Note that somebody uses the server now."""
        with contextlib.suppress(FileNotFoundError):
            self.used.touch()

    def unused_seconds(self) -> float:
        """Return how long ago the server was last used."""
        try:
            return max(0.0, time.time() - self.used.stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def log_tail(self, lines: int = 3) -> str:
        """Return the last lines of the server's log, for an error message."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 4096))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
