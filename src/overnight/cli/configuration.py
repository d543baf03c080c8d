"""The user's configuration file: TOML tables for what is too much for a variable. Never the repository's."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overnight.domain.errors import UsageError

TABLES = ("models", "agents")
"""The tables that there are."""


def read_configuration(path: Path | None, table: str) -> Mapping[str, Any]:
    """Return one table of the file; empty where the file or the table is not there.

    Raises:
        UsageError: the file cannot be read, is no TOML, or has a table that nobody reads.
    """
    if path is None:
        return {}
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "See OVERNIGHT_CONFIG.") from error
    except ValueError as error:
        raise UsageError(f"{path} is no TOML: {error}.") from error
    unknown = [name for name in data if name not in TABLES]
    if unknown:
        raise UsageError(f"{path}: there is no table [{unknown[0]}].", f"Tables: {', '.join(TABLES)}.")
    found = data.get(table, {})
    if not isinstance(found, dict):
        raise UsageError(f"{path}: {table} is no table.")
    return found  # pyright: ignore[reportUnknownVariableType]
