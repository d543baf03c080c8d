"""One command in a fresh sandbox over a fresh workspace: what an attempt's command could do, and no more."""

import msgspec

from overnight.domain.environment import NetworkPolicy
from overnight.domain.events import Event
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.sandbox.interface import Command, CommandResult, OnOutput
from overnight.worker.engine import Engine
from overnight.worker.prepare import Ground, make_ground


class Unrecorded:
    """An event sink for work that belongs to no attempt."""

    def emit(self, event: Event) -> None:
        """Let the event go."""

    async def flush(self) -> None:
        """Return at once."""


async def execute(
    engine: Engine,
    origin: str,
    commit: str,
    argv: tuple[str, ...],
    *,
    network: NetworkPolicy,
    sandbox: str,
    limits: Limits,
    on_output: OnOutput,
) -> CommandResult:
    """Run `argv` at `commit` of the repository and return its result; the workspace is gone afterwards."""
    ground = await make_ground(engine, origin, commit, (), sandbox, limits, Unrecorded())
    try:
        return await _in_workspace(ground, argv, network, limits, on_output)
    finally:
        ground.close()


async def _in_workspace(
    ground: Ground, argv: tuple[str, ...], network: NetworkPolicy, limits: Limits, on_output: OnOutput
) -> CommandResult:
    workspace = ground.workspaces.create(ground.snapshot, f"exec-{new_id()}")
    try:
        spec = msgspec.structs.replace(
            workspace.spec(), limits=limits, network="host" if network == "open" else "none"
        )
        opened = ground.backend.open(spec)
        try:
            return await opened.run(Command(argv=argv), on_output)
        finally:
            await opened.close()
    finally:
        workspace.close()
