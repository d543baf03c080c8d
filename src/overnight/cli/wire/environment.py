"""The process environment as settings; nothing else of the command line reads it."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from overnight.cli.settings import Settings
from overnight.domain.errors import UsageError
from overnight.domain.limits import Limits, read_limits
from overnight.domain.quantities import parse_bytes


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        UsageError: a variable holds what it cannot.
    """
    from platformdirs import user_cache_path, user_config_path, user_data_path

    env = dict(os.environ if environment is None else environment)
    at_once = env.get("OVERNIGHT_ATTEMPTS_AT_ONCE", "0")
    if not at_once.isdigit():
        raise UsageError(f"OVERNIGHT_ATTEMPTS_AT_ONCE is {at_once!r}", "It must be a whole number")
    configuration = Path(env.get("OVERNIGHT_CONFIG") or user_config_path("overnight") / "config.toml")
    if env.get("OVERNIGHT_CONFIG") and not configuration.is_file():
        raise UsageError(f"There is no file {configuration}", "OVERNIGHT_CONFIG names it.")
    return Settings(
        data=Path(env.get("OVERNIGHT_DATA_DIR") or user_data_path("overnight")).absolute(),
        cache=Path(env.get("OVERNIGHT_CACHE_DIR") or user_cache_path("overnight")).absolute(),
        home=Path(env.get("HOME") or "/"),
        model=env.get("OVERNIGHT_MODEL", ""),
        disk_bytes=_disk_bytes(env.get("OVERNIGHT_DISK_LIMIT") or "20g"),
        at_once=int(at_once),
        notify_command=env.get("OVERNIGHT_NOTIFY_COMMAND") or None,
        configuration=configuration,
        master_key=Path(env["OVERNIGHT_MASTER_KEY_FILE"]) if env.get("OVERNIGHT_MASTER_KEY_FILE") else None,
        limits=msgspec.structs.replace(
            Limits(), **read_limits(env.get("OVERNIGHT_LIMITS", ""), "OVERNIGHT_LIMITS")
        ),
        environment=env,
    )


def _disk_bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except UsageError as error:
        raise UsageError(f"OVERNIGHT_DISK_LIMIT: {error.message}", error.hint) from None
