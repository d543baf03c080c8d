"""Settings as values; `wire/environment.py` reads them from the environment."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from overnight.domain.limits import Limits
from overnight.domain.secret import MIN_CHARACTERS


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the process was told from outside. Each field names its variable."""

    data: Path
    """OVERNIGHT_DATA_DIR: tasks, logs, mirrors, snapshots. Default: the user's data directory."""
    cache: Path
    """OVERNIGHT_CACHE_DIR: the embedded model. Default: the user's cache directory."""
    home: Path
    model: str = ""
    """OVERNIGHT_MODEL: the model when `--model` is not given."""
    disk_bytes: int = 20 * 1024**3
    """OVERNIGHT_DISK_LIMIT: size that the data directory is brought back to before each run."""
    at_once: int = 0
    """OVERNIGHT_ATTEMPTS_AT_ONCE: attempts at the same time on this machine; 0: one a core."""
    notify_command: str | None = None
    """OVERNIGHT_NOTIFY_COMMAND: run at the end of each run, as `--notify-command`."""
    configuration: Path | None = None
    """OVERNIGHT_CONFIG: the configuration file. Default: `config.toml` in the user's directory for such."""
    master_key: Path | None = None
    """OVERNIGHT_MASTER_KEY_FILE: the key that seals secrets. Default: `master.key` in the data directory."""
    limits: Limits = Limits()
    """OVERNIGHT_LIMITS: limits of every attempt and of `env` commands, as `--limits` sets them."""
    environment: Mapping[str, str] = {}
    """The process environment, for what passes it on: git's credentials, provider keys, notifications."""

    @property
    def key_file(self) -> Path:
        """Where the master key lies."""
        return self.master_key or self.data / "master.key"

    def values(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return (name, value) of those variables that hold something long enough to be searched for."""
        found = [(name, self.environment.get(name, "")) for name in names]
        return [(name, value) for name, value in found if len(value) >= MIN_CHARACTERS]
