"""Work: the engine's commands that a person starts by hand, and who else works on what."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from overnight.agents.codemap.code_map import CodeMap
from overnight.agents.codemap.focus import read_focus
from overnight.agents.codemap.render import RepositoryMap
from overnight.agents.codemap.symbols import Symbol, find_symbol
from overnight.domain.limits import Limits
from overnight.domain.network import Blocked, Network
from overnight.domain.ports import EventSink
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt
from overnight.sandbox.interface import CommandResult, OnOutput
from overnight.store import attempts as store_attempts
from overnight.store import jobs
from overnight.tasks.admission import Admission
from overnight.worker import building, execution
from overnight.worker.code import code_map
from overnight.worker.engine import Engine
from overnight.worker.owner import is_alive
from overnight.worker.worker import Worker


class Work:
    """What this process carries out over its engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def worker(self) -> Worker:
        """Return a worker of this process."""
        return Worker(self._engine)

    async def standing(self, admission: Admission, sandbox: str, setup_network: str) -> building.Standing:
        """Return a repository's environment and what of it lies ready on disk."""
        origin, commit = admission.repository.origin, admission.base_commit
        return await building.standing(self._engine, origin, commit, sandbox, setup_network)

    async def build(
        self, admission: Admission, sandbox: str, limits: Limits, events: EventSink, fresh: bool, lend: bool,
        setup_network: str,
    ) -> building.Standing:  # fmt: skip
        """Build a repository's environment once, as an attempt would."""
        return await building.build(
            self._engine, admission.repository.origin, admission.base_commit, sandbox, limits, events,
            fresh=fresh, lend=lend, setup_network=setup_network,
        )  # fmt: skip

    async def execute(
        self, admission: Admission, argv: tuple[str, ...], network: Network, sandbox: str,
        limits: Limits, events: EventSink, on_output: OnOutput, lend: bool,
    ) -> tuple[CommandResult, tuple[Blocked, ...]]:  # fmt: skip
        """Run one command in a fresh sandbox over a fresh workspace; return also what the network refused."""
        return await execution.execute(
            self._engine, admission.repository.origin, admission.base_commit, argv,
            network=network, sandbox=sandbox, limits=limits, events=events, on_output=on_output, lend=lend,
        )  # fmt: skip

    async def draw_map(
        self, admission: Admission, focus: str, tokens: int, limits: Limits
    ) -> tuple[RepositoryMap, Mapping[str, int]]:
        """Return the code map of a repository at its base commit, and how many files each limit kept out."""
        return await (await self._code(admission, limits)).draw(read_focus(focus), tokens)

    async def find_symbol(self, admission: Admission, name: str, limits: Limits) -> Symbol:
        """Return where a name is defined and referred to."""
        return await find_symbol(await self._code(admission, limits), name)

    async def _code(self, admission: Admission, limits: Limits) -> CodeMap:
        mirror = await self._engine.open_mirror(admission.repository.origin)
        return code_map(self._engine.data, mirror, admission.base_commit, limits)

    async def holder(self, attempt_id: str) -> str | None:
        """Return who works on an attempt, None if nobody does."""
        now = self._engine.clock.time()
        owner = await self._engine.database.read(lambda conn: jobs.owner_of(conn, attempt_id, now))
        return owner if owner is not None and is_alive(owner) else None

    async def claimable(self, attempts: Iterable[Attempt]) -> frozenset[str]:
        """Return the ids of those that have not ended and do not wait for a person."""

        def query(conn: Connection) -> frozenset[str]:
            now = [store_attempts.get(conn, one.id) for one in attempts]
            left = [(one, jobs.open_of(conn, one.id)) for one in now if one.state not in TURN_ENDED]
            return frozenset(one.id for one, job in left if job is not None and job.state != "waiting")

        return await self._engine.database.read(query)

    async def idle(self, attempts: Iterable[Attempt]) -> frozenset[str]:
        """Return the ids of those that have not ended although nobody works on them any more."""
        left = [one.id for one in attempts if one.state not in TURN_ENDED]
        return frozenset([attempt_id for attempt_id in left if await self.holder(attempt_id) is None])
