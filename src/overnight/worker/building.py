"""A test run of an environment: its snapshot built, its services started, and how it stands on disk."""

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.network import parse_network
from overnight.domain.ports import EventSink, LentSecrets
from overnight.environments.egress import check_reach
from overnight.environments.layer_store import LayerState
from overnight.environments.services import begin
from overnight.environments.snapshots import Snapshots
from overnight.worker.discreet import DiscreetEvents, discreet_errors
from overnight.worker.engine import Engine
from overnight.worker.prepare import lend_to, make_ground, recipe_of


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe, and what of it lies ready on disk."""

    recipe: Recipe
    layers: tuple[LayerState, ...]


async def standing(
    engine: Engine, origin: str, commit: str, sandbox: str, setup_network: str = ""
) -> Standing:
    """Return the recipe at a commit and the layers that the next attempt would use again."""
    mirror = await engine.open_mirror(origin)
    recipe = await recipe_of(engine, mirror, commit, (), setup_network)
    snapshots = Snapshots(engine.data / "snapshots", await engine.open_backend(sandbox), engine.machine)
    versions = await engine.vault.setup_versions(origin)
    return Standing(recipe=recipe, layers=await snapshots.states(mirror, commit, recipe, versions))


async def build(
    engine: Engine, origin: str, commit: str, sandbox: str, limits: Limits, events: EventSink,
    *, fresh: bool = False, lend: bool = False, setup_network: str = "",
) -> Standing:  # fmt: skip
    """Build the snapshot, start services and start commands once, and return what is kept.

    `fresh` makes anew what an earlier setup left; `lend` is a person's word that setup may have its secrets,
    `setup_network` one for its network.

    Raises:
        SetupError: the setup, a service or a start command failed.
        ConflictError: what shall be made anew is in use.
        UsageError: setup has secrets, and nobody gave their word, or the sandbox cannot hold its network.
    """
    check_reach(parse_network("none", setup=setup_network), await engine.open_backend(sandbox))
    opened = await engine.vault.open(origin, lent=lend)
    redaction = opened.redactor()
    with discreet_errors(redaction):
        lent = await lend_to(engine, origin, commit, opened, word=lend)
        shown = DiscreetEvents(events, redaction)
        if fresh:
            await _forget(engine, origin, commit, sandbox, setup_network)
        await _build(engine, origin, commit, sandbox, limits, shown, lent, setup_network)
    return await standing(engine, origin, commit, sandbox, setup_network)


async def _forget(engine: Engine, origin: str, commit: str, sandbox: str, setup_network: str) -> None:
    mirror = await engine.open_mirror(origin)
    recipe = await recipe_of(engine, mirror, commit, (), setup_network)
    snapshots = Snapshots(engine.data / "snapshots", await engine.open_backend(sandbox), engine.machine)
    await snapshots.forget(mirror, commit, recipe, await engine.vault.setup_versions(origin))


async def _build(
    engine: Engine, origin: str, commit: str, sandbox: str, limits: Limits, events: EventSink,
    lent: LentSecrets | None, setup_network: str,
) -> None:  # fmt: skip
    ground = await make_ground(engine, origin, commit, (), sandbox, limits, events, lent, setup_network)
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
