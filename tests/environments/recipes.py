"""Recipes of repositories that are only dictionaries, for tests of detection and of imported files."""

from collections.abc import Mapping

from overnight.domain.environment import Recipe
from overnight.environments.detect.found import Host
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import CommitFiles

HOST = Host(programs=frozenset({"python3", "node", "npm", "redis-server", "postgres"}))


def recipe_of(
    files: Mapping[str, str | bytes],
    refused: Mapping[str, str] | None = None,
    host: Host = HOST,
    checks: tuple[str, ...] = (),
) -> Recipe:
    """Return the recipe of a repository with these files."""
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    paths = tuple(sorted(set[str](contents) | set[str](refused or {})))
    return load_recipe(CommitFiles(paths, contents, refused), checks, host)


def ignored(recipe: Recipe, part: str) -> str:
    """Return the one line that says that a part is ignored."""
    (line,) = [line for line in recipe.sources if line.startswith("ignored: ") and part in line]
    return line
