"""One command in a fresh sandbox over a fresh workspace: what an attempt's command could do, and no more."""

import msgspec

from overnight.domain.events import Event, NetworkBlocked
from overnight.domain.ids import new_id
from overnight.domain.network import Blocked, Network
from overnight.domain.task import Limits
from overnight.environments.egress import check_reach
from overnight.events.folds import refused
from overnight.sandbox.interface import Command, CommandResult, OnOutput
from overnight.worker.engine import Engine
from overnight.worker.prepare import Ground, make_ground, with_network


class Refusals:
    """An event sink for work that belongs to no attempt: it keeps what the network refused."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep a refusal, let any other event go."""
        if isinstance(event, NetworkBlocked):
            self.events.append(event)

    async def flush(self) -> None:
        """Return at once."""


async def execute(
    engine: Engine,
    origin: str,
    commit: str,
    argv: tuple[str, ...],
    *,
    network: Network,
    sandbox: str,
    limits: Limits,
    on_output: OnOutput,
) -> tuple[CommandResult, tuple[Blocked, ...]]:
    """Run `argv` at `commit` of the repository; the workspace is gone afterwards.

    Returns its result, and what the network refused to it or to the setup before it.
    """
    refusals = Refusals()
    check_reach(network, await engine.open_backend(sandbox))
    ground = await make_ground(engine, origin, commit, (), sandbox, limits, refusals, network.setup)
    try:
        result = await _in_workspace(engine, ground, argv, network, limits, on_output, refusals)
    finally:
        ground.close()
    return result, refused(refusals.events)


async def _in_workspace(
    engine: Engine, ground: Ground, argv: tuple[str, ...], network: Network, limits: Limits,
    on_output: OnOutput, refusals: Refusals,
) -> CommandResult:  # fmt: skip
    workspace = ground.workspaces.create(ground.snapshot, f"exec-{new_id()}")
    try:
        spec = msgspec.structs.replace(workspace.spec(), limits=limits)
        spec = with_network(engine, ground, spec, network, refusals)
        opened = ground.backend.open(spec)
        try:
            return await opened.run(Command(argv=argv), on_output)
        finally:
            await opened.close()
    finally:
        workspace.close()
