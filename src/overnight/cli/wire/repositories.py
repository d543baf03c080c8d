"""Repositories: their mirrors, what a task on one starts from, and the environment that it asks for."""

from collections.abc import Sequence
from pathlib import Path

from overnight.cli.settings import Settings
from overnight.domain.environment import Recipe
from overnight.domain.ports import Clock
from overnight.domain.task import Task
from overnight.environments.programs import find_programs
from overnight.environments.recipe import load_recipe
from overnight.environments.repository import read_commit
from overnight.git.mirror import Mirror
from overnight.git.origin import locate
from overnight.store import repositories
from overnight.store.database import Database
from overnight.tasks.admission import Admission, admit


class Repositories:
    """The mirrors in the data directory."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._mirrors = settings.data / "mirrors"

    async def mirror(self, origin: str) -> Mirror:
        """Return the mirror of an origin."""
        return await Mirror.open(self._mirrors, origin, self._settings.environment)

    async def mirror_of(self, task: Task) -> Mirror:
        """Return the mirror of the task's repository."""
        repository = await self._database.read(lambda conn: repositories.get(conn, task.repository_id))
        return await self.mirror(repository.origin)

    async def admit(self, repo: str, base: str | None, directory: Path) -> Admission:
        """Bring the mirror of `repo` up to date and resolve `base` there."""
        return await admit(
            self._database, self._mirrors, repo, base, directory,
            user=self._settings.environment, now=self._clock.time(),
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
            find_programs(self._settings.environment.get("PATH")),
        )
