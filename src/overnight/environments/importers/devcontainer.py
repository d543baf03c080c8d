"""`devcontainer.json` (containers.dev, "Dev Container metadata reference"): what of it a sandbox can honour.

`onCreateCommand`, `updateContentCommand` and `postCreateCommand` become setup, since only setup has the
network that they are written for; `updateContentCommand` is maintenance as well; `postStartCommand` is run
in every sandbox. `initializeCommand` would run on the host and is refused.
"""

import posixpath
import re
import shlex
from collections.abc import Mapping
from typing import Any, cast

from overnight.domain.environment import SecretName, Service
from overnight.environments.detect.found import Host
from overnight.environments.detect.reader import Looking
from overnight.environments.importers.commands import for_sandbox
from overnight.environments.importers.compose import Composed, read_compose
from overnight.environments.importers.imported import (
    MAX_VARIABLES,
    File,
    Imported,
    expand,
    open_file,
    unreadable,
)
from overnight.environments.importers.programs import offered
from overnight.environments.importers.texts import UnreadableError, read_jsonc

FILES = (".devcontainer/devcontainer.json", ".devcontainer.json")
FOLDER_FILE = re.compile(r"\.devcontainer/[^/]+/devcontainer\.json")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SETUP = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
_REFUSED = {
    "initializeCommand": "it would run on the host, outside of every sandbox",
    "runArgs": "arguments of a container engine could lead out of the sandbox",
    "mounts": "nothing of the host is mounted into a sandbox",
    "workspaceMount": "the workspace is always a layer of its own",
    "privileged": "nothing in a sandbox is privileged",
    "capAdd": "a sandbox has no capabilities",
    "securityOpt": "the sandbox's protection is not up to the repository",
    "postAttachCommand": "nobody attaches to a sandbox",
    "forwardPorts": "no port leads out of a sandbox",
    "appPort": "no port leads out of a sandbox",
    "containerUser": "commands run as one user, never as root",
    "remoteUser": "commands run as one user, never as root",
    "hostRequirements": "the limits of a run are its person's to set",
    "build": "images are not built here; the host's programs are used",
    "dockerFile": "images are not built here; the host's programs are used",
    "context": "images are not built here; the host's programs are used",
}
_SILENT = frozenset((
    "$schema", "name", "customizations", "extensions", "settings", "portsAttributes", "otherPortsAttributes",
    "overrideCommand", "shutdownAction", "updateRemoteUserUID", "userEnvProbe", "waitFor", "init", "service",
    "runServices", "dockerComposeFile", "image", "features", "containerEnv", "remoteEnv", "secrets",
    "postStartCommand", "workspaceFolder", "devPort", "overrideFeatureInstallOrder", *_SETUP,
))  # fmt: skip


def import_devcontainer(looking: Looking, host: Host) -> Imported | None:
    """Return what the repository's devcontainer.json says, or None where there is none."""
    path = _place(looking)
    opened = open_file(looking, host, path) if path else None
    if opened is None:
        return None
    file, content = opened
    try:
        values = read_jsonc(content)
    except UnreadableError as error:
        return unreadable(file, "JSON", error)
    for key in values:
        if key in _REFUSED:
            if values[key] not in (None, [], {}, False, "", "root"):
                file.ignore(key, _REFUSED[key])
        elif key not in _SILENT:
            file.ignore(key, "no such key is known")
    if file.text(values, "workspaceFolder") not in (None, "/workspace"):
        file.note("workspaceFolder", "the repository lies at /workspace")
    composed = _composed(file, values)
    names = frozenset(service.name for service in composed.services)
    variables, path_entries = _variables(file, values, composed.variables)
    commands = {key: _commands(file, key, values.get(key), variables) for key in _SETUP}
    setup = [command for key in _SETUP for command in commands[key]]
    start = _commands(file, "postStartCommand", values.get("postStartCommand"), variables)
    offered(file, "features", _features(file, values))
    base = file.image("image", expand(file.text(values, "image") or "")) or composed.image
    file.close()
    return Imported(
        file=file.path,
        base=base,
        setup=tuple(setup) or None,
        maintenance=tuple(commands["updateContentCommand"]) or None,
        start=tuple(start) or None,
        services=composed.services or None,
        secrets=tuple(SecretName(name=name) for name in _secret_names(file, values)),
        variables={name: _reached(value, names) for name, value in variables.items()},
        path=path_entries,
    )


def _place(looking: Looking) -> str | None:
    for path in FILES:
        if looking.has(path) or looking.refused(path):
            return path
    below = [path for path in looking.all if FOLDER_FILE.fullmatch(path)]
    if len(below) > 1:
        looking.note(below[0], f"the first of {len(below)} devcontainer.json files is taken")
    return below[0] if below else None


def _commands(file: File, key: str, value: object, variables: Mapping[str, str]) -> list[str]:
    """Return the commands of a lifecycle key: text for the shell, arguments, or several by name."""
    if value is None:
        return []
    if isinstance(value, dict):
        parts = cast("dict[object, Any]", value)
        # They may run side by side; one after the other is what every one of them must bear.
        return [
            command
            for name, part in parts.items()
            if not isinstance(part, dict)
            for command in _commands(file, f"{key}.{name}", part, variables)
        ]
    if isinstance(value, list):
        words = cast("list[Any]", value)
        if not all(isinstance(word, str) and "\0" not in word for word in words):
            file.wrong(key, "a text, a list of texts, or a table of these")
            return []
        argv = [expand(word, variables) for word in words]
        script = shlex.join(argv)
    else:
        text = file.text({key: value}, key)
        script = expand(text, variables) if text else ""
    script = for_sandbox(script, lambda part, why: file.ignore(f"{key}: {part}", why)) if script else ""
    if script:
        file.note(key, script)
    return [script] if script else []


def _variables(
    file: File, values: Mapping[str, Any], composed: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables, those of the Compose file below the others, and the directories for PATH."""
    found = {
        name: value for name, value in composed.items() if _VARIABLE.fullmatch(name) and "$" not in value
    }
    path: tuple[str, ...] = ()
    for key in ("containerEnv", "remoteEnv"):
        for name, value in file.table(values, key).items():
            if value is None:
                found.pop(name, None)
            elif not _VARIABLE.fullmatch(name) or not isinstance(value, str) or "\0" in value:
                file.wrong(f"{key}.{name}", "a name with a text")
            elif len(found) >= MAX_VARIABLES:
                file.ignore(f"{key}.{name}", f"there are more than {MAX_VARIABLES} variables")
            elif name == "PATH":
                entries = [
                    expand(entry, found) for entry in value.replace("${containerEnv:PATH}", "").split(":")
                ]
                path = tuple(entry for entry in entries if entry.startswith("/"))
            else:
                found[name] = expand(value, found)
    return found, path


def _composed(file: File, values: Mapping[str, Any]) -> Composed:
    """Return what the Compose files say, later ones over earlier ones."""
    named: object = values.get("dockerComposeFile")
    listed = cast("list[object]", named) if isinstance(named, list) else [named]
    own = file.text(values, "service") or ""
    wanted = {name for name in file.items(values, "runServices") if isinstance(name, str)}
    services: dict[str, Service] = {}
    variables: dict[str, str] = {}
    image: str | None = None
    for entry in listed:
        if entry is None:
            continue
        if not isinstance(entry, str):
            file.wrong("dockerComposeFile", "a path, or a list of paths")
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), entry))
        found = read_compose(file, path, own, wanted)
        services |= {service.name: service for service in found.services}
        variables |= found.variables
        image = found.image or image
    return Composed(services=tuple(services.values()), variables=variables, image=image)


def _reached(value: str, names: frozenset[str]) -> str:
    """Put 127.0.0.1 where a value names a service as its host: all of them run in one sandbox."""
    if value in names:
        return "127.0.0.1"
    for name in names:
        value = re.sub(rf"(?<=[@/]){re.escape(name)}(?=[:/?]|$)", "127.0.0.1", value)
    return value


def _features(file: File, values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (feature, its short name, the version that is asked for)."""
    found: list[tuple[str, str, str]] = []
    for name, options in file.table(values, "features").items():
        short = name.rsplit("/", 1)[-1].split(":")[0].split("@")[0]
        version = cast("dict[str, Any]", options).get("version") if isinstance(options, dict) else options
        found.append((name, short, version if isinstance(version, str) else ""))
    return found


def _secret_names(file: File, values: Mapping[str, Any]) -> list[str]:
    names = list(file.table(values, "secrets"))
    for name in names:
        if not _VARIABLE.fullmatch(name):
            file.wrong(f"secrets.{name}", "the name of a variable")
    return [name for name in names if _VARIABLE.fullmatch(name)][:MAX_VARIABLES]
