"""A repository's own recipe, `.overnight.toml`. Whatever it says wins over detection, key by key.

All keys are optional:

    setup = ["pip install -e ."]        # commands, run once with network; [] means nothing to install
    checks = ["python3 -m pytest -q"]   # commands whose exit code judges a workspace
    variables = { TZ = "UTC" }          # environment variables of setup and of every command
    path = ["/dependencies/venv/bin"]   # directories put in front of PATH
    tools = ["python3"]                 # programs of the host that must be there
    lock_files = ["requirements.txt"]   # files whose content decides whether setup runs again
    protected = ["golden/**"]           # further files that a patch must not change
    setup_network = "open"              # or "none", "registries", hosts by comma
    setup_seconds = 900                 # for all setup commands together

    [network]
    setup = "registries"                # as setup_network
    agent = "none"                      # what the agent should reach; a person must grant it
    allow = ["api.example.com GET"]     # further hosts for the agent; a person must grant them

`variables` are added to the detected ones; every other key replaces what was detected.
"""

import difflib
import re
import tomllib
from typing import Any, cast

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.errors import UsageError
from overnight.domain.network import parse_network, parse_rule

NAME = ".overnight.toml"
KEYS = (
    "setup", "checks", "variables", "path", "tools", "lock_files", "protected", "setup_network",
    "setup_seconds", "network",
)  # fmt: skip
MAX_SETUP_SECONDS = 6 * 3600.0

_LISTS = ("setup", "checks", "path", "tools", "lock_files", "protected")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def override(detected: Recipe, content: bytes) -> Recipe:
    """Return the recipe as `.overnight.toml` changes it.

    Raises:
        UsageError: the file is no TOML, or a key is unknown or has a value of the wrong kind.
    """
    try:
        values: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{NAME} is no valid TOML: {error}", "Fix the file, or remove it.") from error
    changes: dict[str, Any] = {}
    for key, value in values.items():
        changes[key] = _checked(key, value)
    network = changes.pop("network", {})
    changes |= network
    if "variables" in changes:
        changes["variables"] = {**detected.variables, **changes["variables"]}
    sources = (*detected.sources, *(f"{NAME}: {key}" for key in values))
    return msgspec.structs.replace(detected, **changes, sources=sources)


def _checked(key: str, value: object) -> object:
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=2, cutoff=0.5)
        meant = f"Did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
        raise UsageError(f"{NAME}: unknown key {key!r}", f"{meant}Known keys: {', '.join(KEYS)}.")
    if key in _LISTS:
        return _strings(key, value)
    if key == "variables":
        return _variables(value)
    if key == "setup_network":
        return _reach(key, value)
    if key == "network":
        return _network(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SETUP_SECONDS:
        raise UsageError(
            f"{NAME}: setup_seconds must be a number above 0, up to {MAX_SETUP_SECONDS:.0f}, not {value!r}"
        )
    return float(value)


def _reach(key: str, value: object) -> str:
    """Return a preset or a list of hosts, as a person would give it to `--network`."""
    text = value if isinstance(value, str) else ",".join(_strings(key, value))
    try:
        parse_network(text)
    except UsageError as error:
        raise UsageError(f"{NAME}: {key}: {error.message}", error.hint) from None
    return text


def _network(value: object) -> dict[str, object]:
    """Return the changes to a recipe that the table `[network]` makes."""
    table = cast("dict[str, object]", value) if isinstance(value, dict) else None
    if table is None or not set(table) <= {"setup", "agent", "allow"}:
        raise UsageError(
            f"{NAME}: network must be a table with setup, agent or allow, not {value!r}",
            'Write [network] and below it agent = "registries"; for setup alone there is setup_network.',
        )
    changes: dict[str, object] = {}
    asked: list[str] = []
    if "setup" in table:
        changes["setup_network"] = _reach("network.setup", table["setup"])
    if "agent" in table:
        asked += _reach("network.agent", table["agent"]).split(",")
    if "allow" in table:
        for text in _strings("network.allow", table["allow"]):
            try:
                asked.append(str(parse_rule(text)))
            except UsageError as error:
                raise UsageError(f"{NAME}: network.allow: {error.message}", error.hint) from None
    changes["network_asked"] = tuple(wish for wish in asked if wish != "none")
    return changes


def _strings(key: str, value: object) -> tuple[str, ...]:
    items = cast("list[object]", value) if isinstance(value, list) else None
    if items is None or not all(
        isinstance(item, str) and item.strip() and "\0" not in item for item in items
    ):
        raise UsageError(
            f"{NAME}: {key} must be a list of strings, not {value!r}", f'Write {key} = ["…", "…"].'
        )
    found = tuple(str(item) for item in items)
    if key == "path" and not all(item.startswith("/") for item in found):
        raise UsageError(f"{NAME}: path must hold absolute directories, as seen inside the sandbox")
    if key == "lock_files" and any(item.startswith("/") or ".." in item.split("/") for item in found):
        raise UsageError(f"{NAME}: lock_files must be paths inside the repository")
    return found


def _variables(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise UsageError(f"{NAME}: variables must be a table, not {value!r}")
    found: dict[str, str] = {}
    for name, item in cast("dict[str, object]", value).items():
        if not _VARIABLE.fullmatch(name) or not isinstance(item, str) or "\0" in item:
            raise UsageError(f"{NAME}: variables.{name} must be a name with a string, not {item!r}")
        found[name] = item
    return found
