"""A test run of an environment: its snapshot built, its services started, and how it stands on disk."""

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.ports import EventSink, LentSecrets
from overnight.environments.layer_store import LayerState
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import read_commit
from overnight.environments.services import begin
from overnight.environments.snapshots import Snapshots
from overnight.worker.discreet import DiscreetEvents, discreet_errors
from overnight.worker.engine import Engine
from overnight.worker.prepare import lend_to, make_ground


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe, and what of it lies ready on disk."""

    recipe: Recipe
    layers: tuple[LayerState, ...]


async def standing(engine: Engine, origin: str, commit: str, sandbox: str) -> Standing:
    """Return the recipe at a commit and the layers that the next attempt would use again."""
    mirror = await engine.open_mirror(origin)
    recipe = load_recipe(await read_commit(mirror, commit), (), engine.host)
    snapshots = Snapshots(engine.data / "snapshots", await engine.open_backend(sandbox), engine.machine)
    versions = await engine.vault.setup_versions(origin)
    return Standing(recipe=recipe, layers=await snapshots.states(mirror, commit, recipe, versions))


async def build(
    engine: Engine, origin: str, commit: str, sandbox: str, limits: Limits, events: EventSink,
    *, fresh: bool = False, lend: bool = False,
) -> Standing:  # fmt: skip
    """Build the snapshot, start services and start commands once, and return what is kept.

    `fresh` makes anew what an earlier setup left; `lend` is a person's word that setup may have its secrets.

    Raises:
        SetupError: the setup, a service or a start command failed.
        ConflictError: what shall be made anew is in use.
        UsageError: setup has secrets, and nobody gave their word.
    """
    opened = await engine.vault.open(origin)
    redaction = opened.redactor()
    with discreet_errors(redaction):
        lent = await lend_to(engine, origin, commit, opened, word=lend)
        shown = DiscreetEvents(events, redaction)
        await _build(engine, origin, commit, sandbox, limits, shown, lent, fresh=fresh)
    return await standing(engine, origin, commit, sandbox)


async def _build(
    engine: Engine, origin: str, commit: str, sandbox: str, limits: Limits, events: EventSink,
    lent: LentSecrets | None, *, fresh: bool,
) -> None:  # fmt: skip
    if fresh:
        mirror = await engine.open_mirror(origin)
        recipe = load_recipe(await read_commit(mirror, commit), (), engine.host)
        snapshots = Snapshots(engine.data / "snapshots", await engine.open_backend(sandbox), engine.machine)
        await snapshots.forget(mirror, commit, recipe, await engine.vault.setup_versions(origin))
    ground = await make_ground(engine, origin, commit, (), sandbox, limits, events, lent)
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
