"""Results: the best attempt, its patch in a person's checkout, its pull request opened and merged."""

from collections.abc import Sequence
from pathlib import Path

from overnight.cli.settings import Settings
from overnight.cli.wire.repositories import Repositories
from overnight.domain.ports import Clock
from overnight.domain.task import Attempt, PullRequest, Task
from overnight.store import repositories, tasks
from overnight.store.database import Database
from overnight.tasks.vault import Vault
from overnight.verify.rank import rank
from overnight.worker import delivery


class Results:
    """What a person takes away."""

    def __init__(
        self, settings: Settings, database: Database, clock: Clock, vault: Vault, mirrors: Repositories
    ) -> None:
        self._environment = settings.environment
        self._database = database
        self._clock = clock
        self._vault = vault
        self._mirrors = mirrors

    def ranked(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return attempts, best first."""
        return [ranked.attempt for ranked in rank(attempts)]

    async def apply(self, task: Task, attempt: Attempt, repo: Path | None) -> Path:
        """Put a patch into the person's checkout."""
        mirror = await self._mirrors.mirror_of(task)
        return await delivery.apply(mirror, task, attempt, repo, self._environment)

    async def checkout(self, task: Task, attempt: Attempt, repo: Path | None) -> Path:
        """Switch the person's checkout to a patch's branch."""
        mirror = await self._mirrors.mirror_of(task)
        return await delivery.checkout(mirror, attempt, repo, self._environment)

    async def publish(self, task: Task, attempt: Attempt) -> PullRequest:
        """Open a pull request by a person's decision."""
        repository = await self._database.read(lambda conn: repositories.get(conn, task.repository_id))
        opened = await self._vault.open(repository.origin, lent=task.lend_setup_secrets)
        redaction = opened.redactor()
        return await delivery.publish(self._database, task, attempt, self._clock.time(), redaction)

    async def merge(self, request: PullRequest) -> PullRequest:
        """Merge a pull request into the person's repository."""
        task = await self._database.read(lambda conn: tasks.get(conn, request.task_id))
        mirror = await self._mirrors.mirror_of(task)
        return await delivery.merge(self._database, mirror, request, self._environment, self._clock.time())
