"""A repository on its way in: looked at, mirrored, its base resolved, what a person should know said."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import RepositoryError
from overnight.domain.task import Repository
from overnight.git.inspect import inspect_commit, inspect_origin
from overnight.git.mirror import Mirror
from overnight.git.origin import locate
from overnight.store import repositories
from overnight.store.database import Database


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that a task can be made for."""

    repository: Repository
    base_ref: str
    base_commit: str
    notes: tuple[str, ...] = ()
    """What a person should read before the work starts, one sentence each."""


async def admit(
    database: Database,
    mirrors: Path,
    repo: str,
    base: str | None,
    directory: Path,
    *,
    user: Mapping[str, str],
    now: float,
    progress: Callable[[str], None] | None = None,
) -> Admission:
    """Bring the mirror of `repo` up to date and resolve `base` in it; the user's checkout is only read.

    Raises:
        UsageError: no such path, or a URL that we do not fetch from.
        RepositoryError: no repository there, no commits in it, or no such ref.
        GitError: the origin cannot be reached.
    """
    inspection = await inspect_origin(locate(repo, directory))
    if inspection.empty:
        raise RepositoryError(
            f"{inspection.origin.location} has no commits",
            "make a first one: git add -A && git commit -m start",
        )
    mirror = await Mirror.open(mirrors, inspection.origin, user)
    await mirror.fetch(progress, want=base)
    commit = await mirror.resolve(base)
    inspection = await inspect_commit(mirror, commit, inspection)
    repository = await database.tx(lambda conn: repositories.ensure(conn, inspection.origin.location, now))
    return Admission(
        repository=repository,
        base_ref=base or mirror.default_ref(),
        base_commit=commit,
        notes=inspection.notes(),
    )
