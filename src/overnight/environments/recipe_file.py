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
    maintenance = ["pip install -e ."]  # instead of setup, on the snapshot of an earlier commit
    start = ["python manage.py migrate"]  # in every fresh sandbox, after the services
    base = "python:3.12"                # a container image, for the container backend

    [services.redis]                    # runs inside the sandbox, beside the agent and the checks
    command = "redis-server --port 6379"
    ready = "redis-cli ping"            # asked until it ends with 0
    seconds = 30                        # for how long
    variables = {}

    [secrets]                           # names only, with the phase that needs them
    NPM_TOKEN = "setup"

    [limits]                            # may only lower what the person allows
    memory_bytes = "2g"

    [network]
    setup = "registries"                # as setup_network
    agent = "none"                      # what the agent should reach; a person must grant it
    allow = ["api.example.com GET"]     # further hosts for the agent; a person must grant them

`variables` are added to the detected ones; every other key replaces what was detected.
"""

import difflib
import re
from typing import Any, cast, get_args

import msgspec

from overnight.domain.environment import IMAGE, Recipe, SecretName, SecretPhase, Service
from overnight.domain.errors import UsageError
from overnight.domain.limits import check_limits
from overnight.domain.network import parse_network, parse_rule
from overnight.environments.detect.reader import read_toml

NAME = ".overnight.toml"
KEYS = (
    "setup", "checks", "variables", "path", "tools", "lock_files", "protected", "setup_network",
    "setup_seconds", "network", "maintenance", "start", "base", "services", "secrets", "limits",
)  # fmt: skip
MAX_SETUP_SECONDS = 6 * 3600.0

MAX_SERVICES = 20
MAX_ITEMS = 1_000
MAX_READY_SECONDS = 600.0

_LISTS = ("setup", "checks", "path", "tools", "lock_files", "protected", "maintenance", "start")
_SERVICE_KEYS = ("command", "ready", "seconds", "variables")
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")
_PHASES = get_args(SecretPhase)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def override(detected: Recipe, content: bytes) -> Recipe:
    """Return the recipe as `.overnight.toml` changes it.

    Raises:
        UsageError: the file is no TOML, or a key is unknown or has a value of the wrong kind.
    """
    try:
        values: dict[str, Any] = read_toml(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        why = str(error).splitlines()[0][:200] if str(error) else "it is nested too deeply"
        raise UsageError(f"{NAME} is no valid TOML: {why}", "Fix the file, or remove it.") from error
    changes: dict[str, Any] = {}
    for key, value in values.items():
        changes[key] = _checked(key, value)
    network = changes.pop("network", {})
    changes |= network
    if "variables" in changes:
        changes["variables"] = {**detected.variables, **changes["variables"]}
    if "setup" in changes:
        # Maintenance that another file gives goes with that file's setup.
        changes.setdefault("maintenance", ())
    sources = (*detected.sources, *(f"{NAME}: {key}" for key in values))
    return msgspec.structs.replace(detected, **changes, sources=sources)


def _checked(key: str, value: object) -> object:
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=2, cutoff=0.5)
        meant = f"Did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
        raise UsageError(f"{NAME}: unknown key {_shown(key)}", f"{meant}Known keys: {', '.join(KEYS)}.")
    if key in _LISTS:
        return _strings(key, value)
    if key == "variables":
        return _variables(key, value)
    if key == "services":
        return _services(value)
    if key == "secrets":
        return _secrets(value)
    if key == "limits":
        return check_limits(_table(key, value), f"{NAME}: [limits]")
    if key == "base":
        if not isinstance(value, str) or not (value == "" or IMAGE.fullmatch(value)):
            raise UsageError(f"{NAME}: base must be the name of an image, not {_shown(value)}")
        return value
    if key == "setup_network":
        return _reach(key, value)
    if key == "network":
        return _network(value)
    return _seconds(key, value, MAX_SETUP_SECONDS)


def _seconds(key: str, value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise UsageError(f"{NAME}: {key} must be a number above 0, up to {most:.0f}, not {_shown(value)}")
    return float(value)


def _reach(key: str, value: object) -> str:
    """Return a preset or a list of hosts, as a person would give it to `--network`."""
    text = value if isinstance(value, str) else ",".join(_strings(key, value))
    try:
        parse_network(text)
    except UsageError as error:
        raise UsageError(f"{NAME}: {key}: {error.message[:300]}", error.hint) from None
    return text


def _network(value: object) -> dict[str, object]:
    """Return the changes to a recipe that the table `[network]` makes."""
    shown = _shown(value)
    table = cast("dict[str, object]", value) if isinstance(value, dict) else None
    if table is None or not set(table) <= {"setup", "agent", "allow"}:
        raise UsageError(
            f"{NAME}: network must be a table with setup, agent or allow, not {shown}",
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
                raise UsageError(f"{NAME}: network.allow: {error.message[:300]}", error.hint) from None
    changes["network_asked"] = tuple(wish for wish in asked if wish != "none")
    return changes


def _strings(key: str, value: object) -> tuple[str, ...]:
    items = _list(value)
    if items is None or not all(
        isinstance(item, str) and item.strip() and "\0" not in item for item in items
    ):
        raise UsageError(
            f"{NAME}: {key} must be a list of strings, not {_shown(value)}", f'Write {key} = ["…", "…"].'
        )
    if len(items) > MAX_ITEMS:
        raise UsageError(f"{NAME}: {key} may have at most {MAX_ITEMS} entries, not {len(items)}")
    found = tuple(str(item) for item in items)
    if key == "path" and not all(item.startswith("/") for item in found):
        raise UsageError(f"{NAME}: path must hold absolute directories, as seen inside the sandbox")
    if key == "lock_files" and any(item.startswith("/") or ".." in item.split("/") for item in found):
        raise UsageError(f"{NAME}: lock_files must be paths inside the repository")
    return found


def _list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def _table(key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise UsageError(f"{NAME}: {key} must be a table, not {_shown(value)}")
    return cast("dict[str, object]", value)


def _variables(key: str, value: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, item in _table(key, value).items():
        if not _VARIABLE.fullmatch(name) or not isinstance(item, str) or "\0" in item:
            raise UsageError(f"{NAME}: {key}.{_shown(name)} must be a name with a string, not {_shown(item)}")
        found[name] = item
    return found


def _services(value: object) -> tuple[Service, ...]:
    entries = _table("services", value)
    if len(entries) > MAX_SERVICES:
        raise UsageError(f"{NAME}: there may be at most {MAX_SERVICES} services, not {len(entries)}")
    return tuple(_service(name, entry) for name, entry in entries.items())


def _service(name: str, value: object) -> Service:
    key = f"services.{name[:40]}"
    if not _SERVICE.fullmatch(name):
        raise UsageError(f"{NAME}: {_shown(name)} is no name for a service", "Use letters, digits, - and _.")
    values = _table(key, value)
    for given in values:
        if given not in _SERVICE_KEYS:
            known = ", ".join(_SERVICE_KEYS)
            raise UsageError(f"{NAME}: unknown key {_shown(given)} in [{key}]", f"Known keys: {known}.")
    command, ready = values.get("command"), values.get("ready", "")
    if not isinstance(command, str) or not command.strip() or "\0" in command:
        raise UsageError(f"{NAME}: {key}.command must be the command that serves, not {_shown(command)}")
    if not isinstance(ready, str) or "\0" in ready:
        raise UsageError(f"{NAME}: {key}.ready must be a command, not {_shown(ready)}")
    return Service(
        name=name,
        command=command,
        ready=ready.strip(),
        seconds=_seconds(f"{key}.seconds", values.get("seconds", 30), MAX_READY_SECONDS),
        variables=_variables(f"{key}.variables", values.get("variables", {})),
    )


def _secrets(value: object) -> tuple[SecretName, ...]:
    found: list[SecretName] = []
    for name, phase in _table("secrets", value).items():
        if not _VARIABLE.fullmatch(name) or phase not in _PHASES:
            raise UsageError(
                f"{NAME}: secrets.{_shown(name)} must be a name with one of {', '.join(_PHASES)}, "
                f"not {_shown(phase)}",
                "Values never stand in a repository.",
            )
        found.append(SecretName(name=name, phase=cast("SecretPhase", phase)))
    return tuple(found)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number with thousands of digits
        return "this number"
    return text if len(text) <= 60 else text[:59] + "…"
