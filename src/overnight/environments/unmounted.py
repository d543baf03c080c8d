"""Recipes for a sandbox that mounts nothing (`none`): `/dependencies` becomes a real directory's name."""

import re
from pathlib import Path

import msgspec

from overnight.domain.environment import Recipe
from overnight.sandbox.interface import DEPENDENCIES

_WORD = re.compile(rf"(?<![\w./-]){re.escape(DEPENDENCIES)}(?![\w.-])")
_EDITABLE = re.compile(r"\s-e\s+'?\.")


def unmounted(recipe: Recipe, dependencies: Path) -> Recipe:
    """Return the recipe with `dependencies` wherever it says `/dependencies`.

    Setup ran in a folder that is gone, so an editable install points nowhere: `src` goes on Python's path.
    """

    def named(text: str) -> str:
        return _WORD.sub(lambda _: str(dependencies), text)

    return msgspec.structs.replace(
        recipe,
        setup=tuple(named(command) for command in recipe.setup),
        maintenance=tuple(named(command) for command in recipe.maintenance),
        start=tuple(named(command) for command in recipe.start),
        services=tuple(
            msgspec.structs.replace(
                service,
                command=named(service.command),
                ready=named(service.ready),
                variables={name: named(value) for name, value in service.variables.items()},
            )
            for service in recipe.services
        ),
        checks=tuple(named(command) for command in recipe.checks),
        path=tuple(named(item) for item in recipe.path),
        variables={name: named(value) for name, value in recipe.variables.items()},
    )


def with_source_path(recipe: Recipe) -> Recipe:
    """Return the recipe as workspaces use it, whose own `src` stands in for an editable install."""
    if not any(_EDITABLE.search(command) for command in recipe.setup) or "PYTHONPATH" in recipe.variables:
        return recipe
    return msgspec.structs.replace(recipe, variables={**recipe.variables, "PYTHONPATH": "src:."})


def point(link: Path, target: Path) -> None:
    """Make `link` a symbolic link to `target`, in one step."""
    link.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    spare = link.with_name(f"{link.name}.new")
    spare.unlink(missing_ok=True)
    spare.symlink_to(target)
    spare.replace(link)
