"""One command in a fresh sandbox over a fresh workspace: what an attempt's command could do, and no more."""

import msgspec

from overnight.domain.environment import NetworkPolicy
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.ports import EventSink
from overnight.environments.services import begin
from overnight.sandbox.interface import Command, CommandResult, OnOutput
from overnight.worker.engine import Engine
from overnight.worker.prepare import Ground, make_ground


async def execute(
    engine: Engine,
    origin: str,
    commit: str,
    argv: tuple[str, ...],
    *,
    network: NetworkPolicy,
    sandbox: str,
    limits: Limits,
    events: EventSink,
    on_output: OnOutput,
) -> CommandResult:
    """Run `argv` at `commit` of the repository and return its result; the workspace is gone afterwards.

    Raises:
        SetupError: the environment's setup failed, or one of its services or start commands did.
        SandboxUnavailableError: this machine cannot isolate commands as asked.
    """
    ground = await make_ground(engine, origin, commit, (), sandbox, limits, events)
    try:
        return await _in_workspace(ground, argv, network, events, on_output)
    finally:
        ground.close()


async def _in_workspace(
    ground: Ground, argv: tuple[str, ...], network: NetworkPolicy, events: EventSink, on_output: OnOutput
) -> CommandResult:
    workspace = ground.workspaces.create(ground.snapshot, f"exec-{new_id()}")
    try:
        spec = msgspec.structs.replace(
            workspace.spec(), limits=ground.limits, network="host" if network == "open" else "none"
        )
        opened = ground.backend.open(spec)
        try:
            serving = await begin(ground.snapshot.recipe, ground.backend, opened, events)
            try:
                return await opened.run(Command(argv=argv), on_output)
            finally:
                await serving.close()
        finally:
            await opened.close()
    finally:
        workspace.close()
