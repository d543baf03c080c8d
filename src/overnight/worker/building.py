"""A test run of an environment: its snapshot built, its services started, and how it stands on disk."""

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.ports import EventSink
from overnight.environments.layer_store import LayerState
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import read_commit
from overnight.environments.services import begin
from overnight.environments.snapshots import Snapshots
from overnight.worker.engine import Engine
from overnight.worker.prepare import make_ground


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe, and what of it lies ready on disk."""

    recipe: Recipe
    layers: tuple[LayerState, ...]


async def standing(engine: Engine, origin: str, commit: str, sandbox: str) -> Standing:
    """Return the recipe at a commit and the layers that the next attempt would use again."""
    mirror = await engine.open_mirror(origin)
    recipe = load_recipe(await read_commit(mirror, commit), (), engine.host)
    snapshots = Snapshots(engine.data / "snapshots", await engine.open_backend(sandbox), engine.machine)
    return Standing(recipe=recipe, layers=await snapshots.states(mirror, commit, recipe))


async def build(
    engine: Engine, origin: str, commit: str, sandbox: str, limits: Limits, events: EventSink,
    *, fresh: bool = False,
) -> Standing:  # fmt: skip
    """Build the snapshot, start services and start commands once, and return what is kept.

    `fresh` makes anew what an earlier setup left.

    Raises:
        SetupError: the setup, a service or a start command failed.
        ConflictError: what shall be made anew is in use.
    """
    if fresh:
        mirror = await engine.open_mirror(origin)
        recipe = load_recipe(await read_commit(mirror, commit), (), engine.host)
        snapshots = Snapshots(engine.data / "snapshots", await engine.open_backend(sandbox), engine.machine)
        await snapshots.forget(mirror, commit, recipe)
    ground = await make_ground(engine, origin, commit, (), sandbox, limits, events)
    try:
        recipe = ground.snapshot.recipe
        if recipe.services or recipe.start:
            workspace = ground.workspaces.create(ground.snapshot, f"build-{new_id()}")
            try:
                opened = ground.backend.open(msgspec.structs.replace(workspace.spec(), limits=ground.limits))
                try:
                    await (await begin(recipe, ground.backend, opened, events)).close()
                finally:
                    await opened.close()
            finally:
                workspace.close()
    finally:
        ground.close()
    return await standing(engine, origin, commit, sandbox)
