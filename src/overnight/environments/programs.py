"""The host's programs that recipes speak of: which are there, and in which version as far as files tell."""

import shutil
from pathlib import Path

from overnight.environments.detect.found import Host

_POSTGRES = "/usr/lib/postgresql"
"""Where Debian keeps PostgreSQL's server, beside PATH; services look there as well."""
_NAMES = (
    "python3", "uv", "node", "npm", "npx", "pnpm", "yarn", "bun", "deno", "go", "cargo", "make", "java",
    "ruby", "php", "dotnet", "redis-server", "redis-cli", "valkey-server", "valkey-cli", "memcached",
    "postgres",
)  # fmt: skip


def find_programs(search: str | None) -> Host:
    """Return what this machine offers to a sandbox; `search` is a PATH, None the process's own."""
    found = {name for name in _NAMES if shutil.which(name, path=search)}
    if any(Path(_POSTGRES).glob("*/bin/postgres")):
        found.add("postgres")
    return Host(programs=frozenset(found))


def name_programs(search: str | None) -> str:
    """Name the programs and their age: results of an older one say nothing of a newer one."""
    found = [Path(place).resolve() for name in _NAMES if (place := shutil.which(name, path=search))]
    return " ".join(f"{place}:{place.stat().st_mtime_ns}" for place in found)
