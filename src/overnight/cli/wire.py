"""Reads the environment, builds the objects, hands them over: the only place that knows all layers."""

import contextlib
import os
import platform
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import msgspec
from rich.console import Console

from overnight.agents.catalog import agents as known_agents
from overnight.blobs.store import BlobStore
from overnight.cli.download import DownloadBar
from overnight.cli.settings import Settings
from overnight.cli.units import show_bytes
from overnight.domain.environment import Recipe
from overnight.domain.errors import OvernightError, UsageError
from overnight.domain.limits import Limits, read_limits
from overnight.domain.network import Blocked, Network
from overnight.domain.ports import EventSink, SystemClock
from overnight.domain.quantities import parse_bytes
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt, PullRequest, Task
from overnight.environments.client_settings import find_client_settings
from overnight.environments.credentials import Divided, divide_settings
from overnight.environments.egress import check_reach
from overnight.environments.programs import find_programs, name_programs
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import read_commit
from overnight.environments.volumes import enter_own_mounts
from overnight.events.log import EventLog
from overnight.git.mirror import Mirror
from overnight.git.origin import locate
from overnight.models.catalog import default_spec
from overnight.models.interface import Model
from overnight.models.local import ModelListing, list_models, remove_local_model, serve_model
from overnight.models.model_file import FetchProgress
from overnight.models.open import ModelSettings, ensure_embedded, key_names, open_model
from overnight.sandbox.choose import SandboxKind, choose
from overnight.sandbox.examination import Examination, examine
from overnight.sandbox.interface import CommandResult, OnOutput, SandboxBackend
from overnight.store import jobs, repositories, tasks
from overnight.store.database import Database
from overnight.tasks.admission import Admission, admit
from overnight.tasks.vault import Vault
from overnight.verify.base_runs import BaseRuns
from overnight.verify.rank import rank
from overnight.worker import building, delivery, execution
from overnight.worker.capacity import capacity
from overnight.worker.engine import Engine
from overnight.worker.owner import is_alive, this_process
from overnight.worker.storage import Storage
from overnight.worker.worker import Worker

SANDBOXES: dict[str, SandboxKind] = {kind: kind for kind in get_args(SandboxKind)}


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        UsageError: a variable holds what it cannot.
    """
    from platformdirs import user_cache_path, user_data_path

    env = dict(os.environ if environment is None else environment)
    at_once = env.get("OVERNIGHT_ATTEMPTS_AT_ONCE", "0")
    if not at_once.isdigit():
        raise UsageError(f"OVERNIGHT_ATTEMPTS_AT_ONCE is {at_once!r}", "It must be a whole number")
    return Settings(
        data=Path(env.get("OVERNIGHT_DATA_DIR") or user_data_path("overnight")).absolute(),
        cache=Path(env.get("OVERNIGHT_CACHE_DIR") or user_cache_path("overnight")).absolute(),
        home=Path(env.get("HOME") or "/"),
        model=env.get("OVERNIGHT_MODEL", ""),
        disk_bytes=_disk_bytes(env.get("OVERNIGHT_DISK_LIMIT") or "20g"),
        at_once=int(at_once),
        notify_command=env.get("OVERNIGHT_NOTIFY_COMMAND") or None,
        master_key=Path(env["OVERNIGHT_MASTER_KEY_FILE"]) if env.get("OVERNIGHT_MASTER_KEY_FILE") else None,
        limits=msgspec.structs.replace(
            Limits(), **read_limits(env.get("OVERNIGHT_LIMITS", ""), "OVERNIGHT_LIMITS")
        ),
        environment=env,
    )


def _disk_bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except UsageError as error:
        raise UsageError(f"OVERNIGHT_DISK_LIMIT: {error.message}", error.hint) from None


@contextlib.asynccontextmanager
async def opened(settings: Settings | None = None) -> AsyncGenerator["Application"]:
    """Open the data directory, and close it however the body ends."""
    bounded = enter_own_mounts()  # before the first thread
    application = await Application.open(settings or read_settings())
    application.bounded = bounded
    try:
        yield application
    finally:
        await application.close()


class Application:
    """The objects of one process, and what local commands need from layers that `cli` may not import."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.clock = SystemClock()
        self.log = EventLog(database, self.clock)
        self.blobs = BlobStore(settings.data / "blobs")
        keys = settings.values(key_names())
        self.vault = Vault(database, settings.key_file, self.clock, keys, lambda: self._clients().values)
        self.bounded = False
        """Whether the mounts of this process are its own and end with it."""
        self.is_alive: Callable[[str], bool] = is_alive
        self._models: dict[str, Model] = {}
        self._backends: dict[str, SandboxBackend] = {}

    @classmethod
    async def open(cls, settings: Settings) -> "Application":
        """Make the data directory if need be and open what lies in it."""
        try:
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Prompts, outputs and patches lie here; a directory that was there may be open to others.
            settings.data.chmod(0o700)
        except OSError as error:
            raise OvernightError(
                f"The data directory {settings.data} cannot be made: {error.strerror}.",
                "Choose another one by OVERNIGHT_DATA_DIR.",
            ) from error
        return cls(settings, await Database.open(settings.data / "overnight.db"))

    async def close(self) -> None:
        """Close models, then the database."""
        for model in self._models.values():
            await model.close()
        await self.database.close()

    # Repositories

    async def mirror(self, origin: str) -> Mirror:
        """Return the mirror of an origin."""
        return await Mirror.open(self.settings.data / "mirrors", origin, self.settings.environment)

    async def admit(self, repo: str, base: str | None, directory: Path) -> Admission:
        """Bring the mirror of `repo` up to date and resolve `base` there."""
        return await admit(
            self.database, self.settings.data / "mirrors", repo, base, directory,
            user=self.settings.environment, now=self.clock.time(),
        )  # fmt: skip

    def origin_of(self, repo: str | None, directory: Path) -> str:
        """Return the origin of a repository as secrets are kept for it; empty without one."""
        return locate(repo, directory).location if repo is not None else ""

    async def recipe(self, admission: Admission, checks: Sequence[str] = ()) -> Recipe:
        """Return the environment of a repository at its base commit."""
        mirror = await self.mirror(admission.repository.origin)
        return load_recipe(
            await read_commit(mirror, admission.base_commit),
            checks,
            find_programs(self.settings.environment.get("PATH")),
        )

    # Models

    def models(self, wanted: Sequence[str]) -> tuple[tuple[str, ...], str]:
        """Return the models to use, and a line that says why when nobody chose one."""
        if wanted:
            return tuple(wanted), ""
        if self.settings.model:
            return (self.settings.model,), f"Using {self.settings.model} (OVERNIGHT_MODEL)."
        spec = default_spec(self.settings.environment)
        if spec == "embedded":
            return (spec,), "No API key is set: using the embedded model (any other: --model provider:name)."
        return (spec,), f"Using {spec}, for which a key is set (any other: --model provider:name)."

    def model_settings(self, bar: DownloadBar | None = None) -> ModelSettings:
        """Return what the models layer needs to know; `bar` shows a fetch."""

        def on_fetch(progress: FetchProgress) -> None:
            if bar is not None:
                bar.update(progress.phase, progress.done, progress.total, str(progress))

        keys = {name: self.settings.environment.get(name, "") for name in key_names()}
        return ModelSettings(
            cache=self.settings.cache,
            keys={name: value for name, value in keys.items() if value},
            on_fetch=on_fetch if bar is not None else None,
        )

    def model(self, spec: str) -> Model:
        """Return the model of that name; one object a process.

        Raises:
            UsageError: no such provider.
            CredentialError: its key is not set.
        """
        if spec not in self._models:
            self._models[spec] = open_model(spec, self.model_settings())
        return self._models[spec]

    async def fetch_models(self, specs: Iterable[str], console: Console) -> None:
        """Make sure that every model can be opened, fetching the embedded one with a progress bar."""
        for spec in dict.fromkeys(specs):
            self.model(spec)
            if spec == "embedded":
                await self.pull(console)

    async def pull(self, console: Console) -> Path:
        """Return the embedded model's file, fetched with a progress bar if it is not there yet."""
        bar = DownloadBar(console)
        try:
            return await ensure_embedded(self.model_settings(bar))
        finally:
            bar.close()

    def model_listing(self) -> ModelListing:
        """Tell how the embedded model and the providers stand."""
        return list_models(self.model_settings())

    async def remove_model(self) -> int:
        """Stop the embedded model's server, delete its file, return the bytes freed."""
        return await remove_local_model("embedded", self.model_settings())

    async def serve(self, port: int, console: Console, on_ready: Callable[[str, str], None]) -> None:
        """Serve the embedded model on loopback until canceled; `on_ready` gets base URL and token."""
        await self.pull(console)
        await serve_model(self.model_settings(), port, on_ready, lambda line: console.print(line))

    def pair(
        self, agents: Sequence[str], models: Sequence[str], attempts: int
    ) -> tuple[tuple[str, str], ...]:
        """Return (agent, model) for each of so many attempts, going round the matrix of both."""
        names = known_agents()
        for agent in agents:
            if agent not in names:
                raise UsageError(f"There is no agent {agent!r}", f"Agents: {', '.join(names)}")
        matrix = [
            (agent, model) for model in models for agent in (agents or (self.model(model).profile.agent,))
        ]
        count = max(attempts, len(matrix))
        return tuple(matrix[index % len(matrix)] for index in range(count))

    # Work

    def limits(self, wanted: Mapping[str, float]) -> Limits:
        """Return the settings' limits with those that a person set for this command."""
        return msgspec.structs.replace(self.settings.limits, **wanted)

    async def backend(self, kind: str) -> SandboxBackend:
        """Return the sandbox backend of that kind, tried on this machine.

        Raises:
            UsageError: there is no such kind.
            SandboxUnavailableError: it does not work here; the hint says what to install or enable.
        """
        if kind not in SANDBOXES:
            raise UsageError(f"There is no sandbox {kind!r}", f"Use one of: {', '.join(SANDBOXES)}")
        if kind not in self._backends:
            rustup = self.settings.environment.get("RUSTUP_HOME", "")
            self._backends[kind] = await choose(
                SANDBOXES[kind],
                state=self.settings.data / "sandbox",
                search=self.settings.environment.get("PATH", ""),
                home=self.settings.home,
                rustup=Path(rustup) if rustup.startswith("/") else None,
            )
        return self._backends[kind]

    def check_network(self, network: Network, backend: SandboxBackend) -> None:
        """Say at once when a backend cannot hold what is granted; see `environments.egress`."""
        check_reach(network, backend)

    async def examinations(self) -> list[Examination]:
        """Return how each sandbox does on this machine, the one that is preferred first."""
        return [await examine(kind, self.backend) for kind in SANDBOXES if kind != "auto"]

    def engine(self) -> Engine:
        """Return this process's objects as a worker takes them."""
        search = self.settings.environment.get("PATH")
        machine = f"python {platform.python_version()} at {sys.base_prefix}, {name_programs(search)}"
        return Engine(
            database=self.database,
            log=self.log,
            blobs=self.blobs,
            clock=self.clock,
            data=self.settings.data,
            owner=this_process(),
            capacity=self.settings.at_once or capacity(),
            agents=known_agents(),
            open_mirror=self.mirror,
            open_model=self.model,
            open_backend=self.backend,
            clients=self._clients(),
            base_runs=BaseRuns(self.settings.data / "base-runs", machine),
            host=find_programs(search),
            vault=self.vault,
            machine=machine,
            bounded=self.bounded,
        )

    def worker(self) -> Worker:
        """Return a worker of this process."""
        return Worker(self.engine())

    def _clients(self) -> Divided:
        return divide_settings(find_client_settings(self.settings.environment, self.settings.home))

    async def standing(self, admission: Admission, sandbox: str, setup_network: str) -> building.Standing:
        """Return a repository's environment and what of it lies ready on disk."""
        origin, commit = admission.repository.origin, admission.base_commit
        return await building.standing(self.engine(), origin, commit, sandbox, setup_network)

    async def build(
        self, admission: Admission, sandbox: str, limits: Limits, events: EventSink, fresh: bool, lend: bool,
        setup_network: str,
    ) -> building.Standing:  # fmt: skip
        """Build a repository's environment once, as an attempt would."""
        return await building.build(
            self.engine(), admission.repository.origin, admission.base_commit, sandbox, limits, events,
            fresh=fresh, lend=lend, setup_network=setup_network,
        )  # fmt: skip

    async def execute(
        self, admission: Admission, argv: tuple[str, ...], network: Network, sandbox: str,
        limits: Limits, events: EventSink, on_output: OnOutput, lend: bool,
    ) -> tuple[CommandResult, tuple[Blocked, ...]]:  # fmt: skip
        """Run one command in a fresh sandbox over a fresh workspace; return also what the network refused."""
        return await execution.execute(
            self.engine(), admission.repository.origin, admission.base_commit, argv,
            network=network, sandbox=sandbox, limits=limits, events=events, on_output=on_output, lend=lend,
        )  # fmt: skip

    async def holder(self, attempt_id: str) -> str | None:
        """Return who works on an attempt, None if nobody does."""
        now = self.clock.time()
        owner = await self.database.read(lambda conn: jobs.owner_of(conn, attempt_id, now))
        return owner if owner is not None and is_alive(owner) else None

    async def idle(self, attempts: Iterable[Attempt]) -> frozenset[str]:
        """Return the ids of those that have not ended although nobody works on them any more."""
        left = [one.id for one in attempts if one.state not in TURN_ENDED]
        return frozenset([attempt_id for attempt_id in left if await self.holder(attempt_id) is None])

    # What a person takes away

    async def mirror_of(self, task: Task) -> Mirror:
        """Return the mirror of the task's repository."""
        repository = await self.database.read(lambda conn: repositories.get(conn, task.repository_id))
        return await self.mirror(repository.origin)

    def ranked(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return attempts, best first."""
        return [ranked.attempt for ranked in rank(attempts)]

    async def apply(self, task: Task, attempt: Attempt, repo: Path | None) -> Path:
        """Put a patch into the person's checkout."""
        mirror = await self.mirror_of(task)
        return await delivery.apply(mirror, task, attempt, repo, self.settings.environment)

    async def checkout(self, task: Task, attempt: Attempt, repo: Path | None) -> Path:
        """Switch the person's checkout to a patch's branch."""
        mirror = await self.mirror_of(task)
        return await delivery.checkout(mirror, attempt, repo, self.settings.environment)

    async def publish(self, task: Task, attempt: Attempt) -> PullRequest:
        """Open a pull request by a person's decision."""
        repository = await self.database.read(lambda conn: repositories.get(conn, task.repository_id))
        opened = await self.vault.open(repository.origin, lent=task.lend_setup_secrets)
        redaction = opened.redactor()
        return await delivery.publish(self.database, task, attempt, self.clock.time(), redaction)

    async def merge(self, request: PullRequest) -> PullRequest:
        """Merge a pull request into the person's repository."""
        task = await self.database.read(lambda conn: tasks.get(conn, request.task_id))
        mirror = await self.mirror_of(task)
        return await delivery.merge(
            self.database, mirror, request, self.settings.environment, self.clock.time()
        )

    # Disk

    async def make_room(self, say: Callable[[str], None]) -> None:
        """Bring the data directory below its limit, saying so, before something new is written."""
        freed = await self.storage().make_room(self.settings.disk_bytes)
        if freed:
            say(f"Freed {show_bytes(freed)}: the data directory was over its limit (OVERNIGHT_DISK_LIMIT).")

    def storage(self) -> Storage:
        """Return what knows about the data directory's disk."""
        return Storage(self.database, self.log, self.blobs, self.settings.data)
