"""The recipe of a repository at a commit: what is detected, `.overnight.toml`, the caller's word."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from overnight.domain.environment import Recipe
from overnight.environments import recipe_file
from overnight.environments.detect.found import Found, Host
from overnight.environments.detect.go import detect_go
from overnight.environments.detect.make import detect_make
from overnight.environments.detect.node import detect_node
from overnight.environments.detect.python import detect_python
from overnight.environments.detect.reader import Looking, Reader
from overnight.environments.detect.rust import detect_rust
from overnight.environments.detect.scripts import detect_scripts

_LANGUAGES: tuple[Callable[[Looking, Host], Found | None], ...] = (
    detect_python,
    detect_node,
    detect_go,
    detect_rust,
)
_FALLBACKS = (detect_make, detect_scripts)


def load_recipe(reader: Reader, checks: Sequence[str] = (), host: Host | None = None) -> Recipe:
    """Return the recipe of a repository; `checks` replace those that were found.

    Raises:
        UsageError: `.overnight.toml` is wrong.
    """
    detected = detect(reader, checks, host or Host())
    own = reader.read(recipe_file.NAME)
    recipe = detected if own is None else recipe_file.override(detected, own)
    if not checks:
        return recipe
    return msgspec.structs.replace(
        recipe, checks=tuple(checks), sources=(*recipe.sources, "checks: given by the caller")
    )


def detect(reader: Reader, checks: Sequence[str], host: Host) -> Recipe:
    """Return what the repository's files say; a runner that none of `checks` names is not installed."""
    looking = Looking(reader)
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
        sources=tuple(looking.sources),
    )


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
