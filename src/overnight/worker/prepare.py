"""From a task to a workspace with a sandbox over it: mirror, recipe, snapshot, overlay."""

import asyncio

import msgspec

from overnight.agents.interface import NOTHING, Equipment
from overnight.domain.environment import Recipe, SecretName
from overnight.domain.errors import OvernightError
from overnight.domain.events import NetworkBlocked, Noted, PolicyBlocked
from overnight.domain.limits import Limits, lower_limits
from overnight.domain.network import ASKED, PRESETS, Network, parse_rule
from overnight.domain.patch import FileChange
from overnight.domain.ports import EventSink, LentSecrets
from overnight.domain.secret import Secret
from overnight.domain.task import Attempt, Task
from overnight.environments import checkpoints
from overnight.environments.egress import way_out
from overnight.environments.interface import Workspace
from overnight.environments.protected import protected_patterns
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import read_commit
from overnight.environments.services import Serving, begin
from overnight.environments.snapshot import Snapshot
from overnight.environments.snapshots import Snapshots
from overnight.environments.workspaces import Workspaces
from overnight.git.carry import carry_over
from overnight.git.mirror import Mirror
from overnight.models.gateway.door import HOST, Door
from overnight.sandbox.egress.gate import Inner
from overnight.sandbox.interface import Sandbox, SandboxBackend, SandboxSpec
from overnight.sandbox.watch import reports
from overnight.secrets.placeholders import Placeholders
from overnight.store import repositories
from overnight.tasks.vault import Opened
from overnight.worker.engine import Engine


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What attempts of one task have in common on this machine."""

    mirror: Mirror
    backend: SandboxBackend
    snapshot: Snapshot
    workspaces: Workspaces
    limits: Limits
    """Those of the caller, as far as the repository does not lower them."""
    snapshots: Snapshots
    """Holds the snapshot's layers, so that nobody evicts them under us."""

    def close(self) -> None:
        """Stop holding the snapshot."""
        self.snapshots.close()


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """Files that lay over another base: where they are kept now, and the paths that conflict."""

    checkpoint: str
    conflicts: tuple[str, ...]


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt works in."""

    ground: Ground
    workspace: Workspace
    sandbox: Sandbox
    serving: Serving
    """The services inside the sandbox."""
    begun: tuple[FileChange, ...]
    """What services and start commands left in the workspace: no part of the patch as it is."""
    limits: Limits
    """The task's, as far as the repository does not lower them."""
    checks: tuple[str, ...]
    protected: tuple[str, ...]
    placeholders: Placeholders
    """The agent's secrets, as the proxy puts them in."""
    brought: Brought | None = None
    """The files as they were carried over to another base, if they were."""

    @property
    def mirror(self) -> Mirror:
        """The repository's mirror."""
        return self.ground.mirror

    async def close(self) -> None:
        """Give services, sandbox, workspace and snapshot back."""
        await self.serving.close()
        await self.sandbox.close()
        self.workspace.close()
        self.ground.close()


async def open_secrets(engine: Engine, task: Task) -> Opened | OvernightError:
    """Return the secrets of a task's repository, or why they do not open: then nothing may run."""
    repository = await engine.database.read(lambda conn: repositories.get(conn, task.repository_id))
    try:
        return await engine.vault.open(repository.origin, lent=task.lend_setup_secrets)
    except OvernightError as error:
        return error


async def recipe_of(
    engine: Engine, mirror: Mirror, commit: str, checks: tuple[str, ...] = (), setup_network: str = ""
) -> Recipe:
    """Return the environment of a commit; `setup_network` is a person's word and wins over the commit's."""
    recipe = load_recipe(await read_commit(mirror, commit), checks, engine.host)
    return msgspec.structs.replace(recipe, setup_network=setup_network or recipe.setup_network)


async def make_ground(
    engine: Engine, origin: str, commit: str, checks: tuple[str, ...], sandbox: str, limits: Limits,
    events: EventSink, lent: LentSecrets | None = None, setup_network: str = "",
) -> Ground:  # fmt: skip
    """Detect the environment of a commit and return its snapshot, built if it is not there yet.

    `lent` are the secrets of setup that a person lends to this commit; without them, setup does without the
    credentials of this machine's package clients too. The caller closes what is returned.
    """
    mirror = await engine.open_mirror(origin)
    recipe = await recipe_of(engine, mirror, commit, checks, setup_network)
    limits, refused = lower_limits(limits, recipe.limits)
    for line in refused:
        events.emit(PolicyBlocked(what="limits", detail=f".overnight.toml: {line}"))
    tell_missing(recipe.secrets, await engine.vault.of(origin), events)
    backend = await engine.open_backend(sandbox)
    clients = engine.clients.settings if lent is None else engine.clients.lent
    snapshots = Snapshots(engine.data / "snapshots", backend, engine.machine)
    try:
        snapshot = await snapshots.prepare(mirror, commit, recipe, events, limits, clients, secrets=lent)
    except BaseException:
        snapshots.close()
        raise
    bounded = await engine.volumes_of(limits.disk_bytes)
    workspaces = Workspaces(engine.data / "workspaces", backend, engine.blobs, bounded)
    return Ground(
        mirror=mirror,
        backend=backend,
        snapshot=snapshot,
        workspaces=workspaces,
        snapshots=snapshots,
        limits=limits,
    )


async def lend_to(
    engine: Engine, origin: str, commit: str, opened: Opened, *, word: bool
) -> LentSecrets | None:
    """Return what the setup of a commit may have, which is nothing without a person's `word`.

    Raises:
        UsageError: it has secrets and there is no word for it.
    """
    mirror = await engine.open_mirror(origin)
    if (await recipe_of(engine, mirror, commit)).setup:
        await engine.vault.check_word(origin, commit, lent=word)
    return opened.lent() if word else None


def for_agent(
    engine: Engine, ground: Ground, spec: SandboxSpec, network: Network, events: EventSink,
    placeholders: Placeholders, equipment: Equipment = NOTHING, door: Door | None = None,
) -> SandboxSpec:  # fmt: skip
    """Return the spec with an agent's limits, network, equipment, and secrets as placeholders.

    Raises:
        UsageError: this machine's sandbox cannot hold the policy.
    """
    folder = spec.upper.parent / "egress"
    # Without secrets nothing must be read for their sake, and no authority made.
    substitution = placeholders if placeholders.variables else None
    reach, egress = way_out(
        network, ground.backend, engine.clients.settings, ground.limits, events, folder, substitution,
        Inner(HOST, door.connect) if door is not None else None,
    )  # fmt: skip
    variables = {**spec.variables, **placeholders.variables}
    return msgspec.structs.replace(
        spec, limits=ground.limits, variables=variables, network=reach, egress=egress,
        on_limit=reports(events), binds=(*spec.binds, *equipment.binds),
        path=(*spec.path, *equipment.path), tools=(*spec.tools, *equipment.tools),
    )  # fmt: skip


def tell_wishes(network: Network, asked: tuple[str, ...], events: EventSink) -> None:
    """Record what the repository would like to reach and nobody granted."""
    for wish in network.lacks(asked):
        if wish in PRESETS:
            events.emit(Noted(text=f"{ASKED} and not granted: --network {wish}"))
            continue
        rule = parse_rule(wish)
        port = rule.ports[0] if rule.ports else 0
        events.emit(NetworkBlocked(host=rule.host, port=port, reason=ASKED, method=",".join(rule.methods)))


def tell_missing(asked: tuple[SecretName, ...], held: tuple[Secret, ...], events: EventSink) -> None:
    """Record which secrets the repository asks for by name and does not have, and how to set them."""
    phases = {secret.name: secret.phase for secret in held}
    for one in asked:
        hosts = " --host HOST" if one.phase == "agent" else ""
        setting = f"overnight secret set {one.name} --repo . --phase {one.phase}{hosts}"
        if one.name not in phases:
            events.emit(Noted(text=f"secret {one.name} is asked for and not set: {setting}"))
        elif phases[one.name] != one.phase:
            found = phases[one.name]
            events.emit(Noted(text=f"secret {one.name} is for {found}, and asked for {one.phase}: {setting}"))


def tell_unused(network: Network, opened: Opened, events: EventSink) -> None:
    """Record which of the agent's secrets can go nowhere, because none of their hosts is granted."""
    if network.preset != "none":
        return
    for secret, _ in opened.held:
        met = any(rule.meets(host) for rule in network.allow for host in secret.hosts)
        if secret.phase == "agent" and not met:
            hosts = " ".join(f"--allow {host}" for host in secret.hosts)
            events.emit(Noted(text=f"secret {secret.name} goes nowhere without network: {hosts}"))


async def prepare(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    events: EventSink,
    checkpoint: str | None,
    base: str,
    opened: Opened,
    equipment: Equipment,
    door: Door | None = None,
) -> Prepared:
    """Return a workspace for the attempt, its files as `checkpoint` has them if one is given.

    Where that was made over another `base` than the task's, its changes are carried over.

    Raises:
        SetupError: the environment's setup failed.
        SandboxUnavailableError: this machine cannot isolate commands as the task asks.
    """
    repository = await engine.database.read(lambda conn: repositories.get(conn, task.repository_id))
    ground = await make_ground(
        engine, repository.origin, task.base_commit, task.checks, task.sandbox, task.limits, events,
        opened.lent() if task.lend_setup_secrets else None, task.network.setup,
    )  # fmt: skip
    try:
        workspace, brought = await _restored(engine, task, attempt, ground, checkpoint, base)
    except BaseException:
        ground.close()
        raise
    if checkpoint is not None:
        events.emit(Noted(text=f"files restored from checkpoint {checkpoint[:12] or 'of the base'}"))
    placeholders = opened.placeholders()
    try:
        tell_wishes(task.network, ground.snapshot.recipe.network_asked, events)
        tell_unused(task.network, opened, events)
        spec = for_agent(
            engine, ground, workspace.spec(), task.network, events, placeholders, equipment, door
        )
        sandbox = ground.backend.open(spec)
    except BaseException:
        workspace.close()
        ground.close()
        raise
    serving, begun = await _begin(ground, workspace, sandbox, events)
    return Prepared(
        ground=ground,
        workspace=workspace,
        sandbox=sandbox,
        serving=serving,
        begun=begun,
        limits=ground.limits,
        checks=ground.snapshot.recipe.checks,
        protected=protected_patterns(ground.snapshot.recipe),
        placeholders=placeholders,
        brought=brought,
    )


async def _restored(
    engine: Engine, task: Task, attempt: Attempt, ground: Ground, checkpoint: str | None, base: str
) -> tuple[Workspace, Brought | None]:
    """Return a workspace with the files of a checkpoint; say how, where its base was another one."""
    workspace = ground.workspaces.create(ground.snapshot, attempt.id)
    try:
        return workspace, await _restore(engine, task, attempt, ground, workspace, checkpoint, base)
    except BaseException:
        workspace.close()
        raise


async def _restore(
    engine: Engine, task: Task, attempt: Attempt, ground: Ground, workspace: Workspace,
    checkpoint: str | None, base: str,
) -> Brought | None:  # fmt: skip
    if base == task.base_commit:
        if checkpoint is not None:
            await workspace.restore(checkpoint)
        return None
    files = checkpoints.load(engine.blobs, checkpoint or "").files
    carried = await carry_over(
        ground.mirror,
        base,
        await asyncio.to_thread(checkpoints.contents, engine.blobs, files),
        task.base_commit,
        f"overnight/carried-{attempt.id}",
    )
    await asyncio.to_thread(workspace.apply, carried.changes)
    return Brought(checkpoint=await workspace.checkpoint(), conflicts=carried.conflicts)


async def _begin(
    ground: Ground, workspace: Workspace, sandbox: Sandbox, events: EventSink
) -> tuple[Serving, tuple[FileChange, ...]]:
    """Start what the recipe wants, and return it with the changes that it made to the workspace.

    Where that fails, everything is given back.
    """
    recipe = ground.snapshot.recipe
    if not recipe.services and not recipe.start:
        return Serving(), ()
    serving: Serving | None = None
    try:
        before = await asyncio.to_thread(workspace.export)
        serving = await begin(recipe, ground.backend, sandbox, events)
        after = await asyncio.to_thread(workspace.export)
    except BaseException:
        if serving is not None:
            await serving.close()
        await sandbox.close()
        workspace.close()
        ground.close()
        raise
    return serving, tuple(change for change in after if change not in before)
