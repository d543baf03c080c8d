"""One command in a fresh sandbox over a fresh workspace: what an attempt's command could do, and no more."""

from overnight.domain.events import Event, NetworkBlocked
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.network import Blocked, Network
from overnight.domain.ports import EventSink
from overnight.environments.egress import check_reach
from overnight.environments.services import begin
from overnight.events.folds import refused
from overnight.sandbox.interface import Command, CommandResult, OnOutput
from overnight.secrets.placeholders import Placeholders
from overnight.worker.discreet import DiscreetEvents, discreet_errors
from overnight.worker.engine import Engine
from overnight.worker.prepare import Ground, for_agent, lend_to, make_ground


class Refusals:
    """Passes events on and keeps what the network refused."""

    def __init__(self, events: EventSink) -> None:
        self.blocked: list[Event] = []
        self._events = events

    def emit(self, event: Event) -> None:
        """Keep a refusal; pass any other event on."""
        if isinstance(event, NetworkBlocked):
            self.blocked.append(event)
        else:
            self._events.emit(event)

    async def flush(self) -> None:
        """Return when everything emitted is where it goes."""
        await self._events.flush()


async def execute(
    engine: Engine,
    origin: str,
    commit: str,
    argv: tuple[str, ...],
    *,
    network: Network,
    sandbox: str,
    limits: Limits,
    events: EventSink,
    on_output: OnOutput,
    lend: bool = False,
) -> tuple[CommandResult, tuple[Blocked, ...]]:
    """Run `argv` at `commit` of the repository; the workspace is gone afterwards.

    Returns its result, and what the network refused to it or to the setup before it. `lend` is a person's
    word that setup may have its secrets; the command has an agent's, as placeholders.

    Raises:
        UsageError: setup has secrets, and nobody gave their word.
        SetupError: the environment's setup failed, or one of its services or start commands did.
        SandboxUnavailableError: this machine cannot isolate commands as asked.
    """
    opened = await engine.vault.open(origin, lent=lend)
    redaction = opened.redactor()
    refusals = Refusals(DiscreetEvents(events, redaction))
    check_reach(network, await engine.open_backend(sandbox))
    with discreet_errors(redaction):
        lent = await lend_to(engine, origin, commit, opened, word=lend)
        ground = await make_ground(
            engine, origin, commit, (), sandbox, limits, refusals, lent, setup_network=network.setup
        )
        try:
            held = opened.placeholders()
            result = await _in_workspace(engine, ground, argv, network, refusals, on_output, held)
        finally:
            ground.close()
    return result, refused(refusals.blocked)


async def _in_workspace(
    engine: Engine, ground: Ground, argv: tuple[str, ...], network: Network, events: EventSink,
    on_output: OnOutput, placeholders: Placeholders,
) -> CommandResult:  # fmt: skip
    workspace = ground.workspaces.create(ground.snapshot, f"exec-{new_id()}")
    try:
        spec = for_agent(engine, ground, workspace.spec(), network, events, placeholders)
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
