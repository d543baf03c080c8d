"""The recipe of a repository at a commit: what is detected, files of other tools, `.overnight.toml`."""

import re
from collections.abc import Callable, Iterable, Sequence

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.errors import UsageError
from overnight.environments import recipe_file
from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.go import detect_go
from overnight.environments.detect.make import detect_make
from overnight.environments.detect.node import detect_node
from overnight.environments.detect.python import detect_python
from overnight.environments.detect.reader import Looking, Reader
from overnight.environments.detect.rust import detect_rust
from overnight.environments.detect.scripts import detect_scripts
from overnight.environments.importers.commands import files_in, prepared_for, programs_in
from overnight.environments.importers.copilot import import_copilot
from overnight.environments.importers.cursor import import_cursor
from overnight.environments.importers.devcontainer import import_devcontainer
from overnight.environments.importers.imported import Imported
from overnight.environments.importers.openhands import import_openhands

_LANGUAGES: tuple[Callable[[Looking, Host], Found | None], ...] = (
    detect_python,
    detect_node,
    detect_go,
    detect_rust,
)
_FALLBACKS = (detect_make, detect_scripts)
_IMPORTERS: tuple[Callable[[Looking, Host], Imported | None], ...] = (
    import_devcontainer,
    import_cursor,
    import_copilot,
    import_openhands,
)
"""In the order in which they win, key by key."""
_PIP = re.compile(r"(?<![\w./-])pip3?\s+install\b|-m\s+pip\s+install\b")
_PYTEST = "python3 -c 'import pytest' 2>/dev/null || python3 -m pip install -q pytest"


def load_recipe(reader: Reader, checks: Sequence[str] = (), host: Host | None = None) -> Recipe:
    """Return the recipe of a repository; `checks` replace those that were found.

    Raises:
        UsageError: `.overnight.toml` is wrong. Other tools' files are never an error, only ignored.
    """
    host = host or Host()
    looking = Looking(reader)
    if refused := looking.refused(recipe_file.NAME):
        raise UsageError(
            f"{recipe_file.NAME} is not read: {refused}", "Commit a regular file of moderate size."
        )
    imports = [part for importer in _IMPORTERS if (part := importer(looking, host)) is not None]
    detected = _detect(looking, checks, host)
    recipe = _merge(detected, imports, looking, host, checks)
    own = reader.read(recipe_file.NAME)
    if own is not None:
        recipe = _with_place(recipe_file.override(recipe, own), recipe, host)
    if not checks:
        return recipe
    return msgspec.structs.replace(
        recipe, checks=tuple(checks), sources=(*recipe.sources, "checks: given by the caller")
    )


def _detect(looking: Looking, checks: Sequence[str], host: Host) -> Recipe:
    """Return what the repository's files say; a runner that none of `checks` names is not installed."""
    parts = [part for language in _LANGUAGES if (part := language(looking, host)) is not None]
    if not any(part.checks for part in parts):
        for fallback in _FALLBACKS:
            part = fallback(looking, host)
            if part is not None:
                parts.append(part)
                break
    if not any(part.checks for part in parts):
        looking.sources.append("checks: none found; give --check or write .overnight.toml")
    setup: list[str] = []
    variables: dict[str, str] = {}
    for part in parts:
        setup += part.setup
        if part.runner_setup and (not checks or any(part.runner in check for check in checks)):
            setup += part.runner_setup
        variables |= part.variables
    return Recipe(
        languages=tuple(part.language for part in parts),
        setup=tuple(setup),
        checks=_unique(check for part in parts for check in part.checks),
        variables=variables,
        path=_unique(item for part in parts for item in part.path),
        tools=_unique(item for part in parts for item in part.tools),
        lock_files=_unique(item for part in parts for item in part.lock_files),
    )


def _merge(
    detected: Recipe, imports: Sequence[Imported], looking: Looking, host: Host, checks: Sequence[str]
) -> Recipe:
    """Return what was detected, under what other tools' files say: the first one that says it wins."""
    variables = dict(detected.variables)
    for part in reversed(imports):
        variables |= part.variables
    secrets = {secret.name: secret for part in reversed(imports) for secret in part.secrets}
    start = next((part.start for part in imports if part.start is not None), ())
    services = next((part.services for part in imports if part.services is not None), ())
    recipe = msgspec.structs.replace(
        detected,
        base=next((part.base for part in imports if part.base is not None), ""),
        start=start,
        services=services,
        variables=variables,
        secrets=tuple(secrets.values()),
        path=_unique((*(item for part in imports for item in part.path), *detected.path)),
    )
    source = next((part for part in imports if part.setup is not None), None)
    if source is not None:
        recipe = _with_setup(recipe, source, looking, host, checks)
    commands = (*recipe.setup, *recipe.start, *(service.command for service in services))
    used = programs_in(commands, host) if imports else ()
    return msgspec.structs.replace(
        recipe, tools=_unique((*recipe.tools, *used)), sources=tuple(looking.sources)
    )


def _with_setup(
    recipe: Recipe, source: Imported, looking: Looking, host: Host, checks: Sequence[str]
) -> Recipe:
    """Return the recipe with a file's setup instead of the detected one, and a place to install into."""
    commands = list(source.setup or ())
    looking.sources.append(f"setup: as {source.file} says, not as detected")
    if any("pytest" in check for check in (checks or recipe.checks)) and "pytest" not in host.python_modules:
        commands.append(_PYTEST)
        looking.sources.append("setup: pytest is installed where it is missing")
    before, variables, path = prepared_for(commands, host)
    lock_files = (*recipe.lock_files, *source.lock_files, *files_in(commands, looking.names))
    return msgspec.structs.replace(
        recipe,
        setup=(*before, *commands),
        maintenance=source.maintenance or (),
        setup_seconds=source.setup_seconds or recipe.setup_seconds,
        variables={**variables, **recipe.variables},
        path=_unique((*path, *recipe.path)),
        lock_files=_unique(lock_files),
    )


def _with_place(own: Recipe, before: Recipe, host: Host) -> Recipe:
    """Return the recipe with a virtual environment, where an own setup installs by pip and names none."""
    plain = own.setup != before.setup and any(_PIP.search(command) for command in own.setup)
    if not plain or any("venv" in command for command in own.setup):
        return own
    made, variables, path = prepared_for(own.setup, host)
    return msgspec.structs.replace(
        own,
        setup=(*made, *own.setup),
        variables={**variables, **own.variables},
        path=_unique((*own.path, *path)),
        sources=(*own.sources, "setup: pip installs into a virtual environment in /dependencies"),
    )


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
