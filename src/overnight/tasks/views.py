"""Tasks as people look at them: with their attempts and their pull request."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from overnight.domain.commands import Command
from overnight.domain.errors import NotFoundError
from overnight.domain.task import Attempt, PullRequest, Repository, Task, Turn
from overnight.store import attempts, commands, prefix, pull_requests, repositories, schema, tasks
from overnight.store.database import Database


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task and what belongs to it."""

    task: Task
    repository: Repository
    attempts: tuple[Attempt, ...]
    turns: dict[str, tuple[Turn, ...]] = {}
    """By attempt."""
    commands: dict[str, tuple[Command, ...]] = {}
    """What people said to each attempt, oldest first."""
    pull_request: PullRequest | None = None
    """The newest one."""

    def chosen(self) -> Attempt | None:
        """Return the attempt that is meant when somebody names the task: the picked one, or the only one."""
        standing = [one for one in self.attempts if one.superseded_by is None]
        picked = [one for one in standing if one.id == self.task.picked]
        return picked[0] if picked else standing[0] if len(standing) == 1 else None


async def view(database: Database, task_id: str) -> TaskView:
    """Return the task whose id is, or begins with, `task_id`.

    Raises:
        NotFoundError: there is none.
        UsageError: the id is too short or fits several.
    """
    return await database.read(lambda connection: _views(connection, [tasks.find(connection, task_id)])[0])


async def find(database: Database, identifier: str) -> tuple[TaskView, Attempt | None]:
    """Return the task that `identifier` begins or names, and the attempt if it names one.

    Raises:
        NotFoundError: neither a task nor an attempt answers to it.
        UsageError: it is too short or fits several.
    """
    return await database.read(lambda connection: _find(connection, identifier))


async def listing(
    database: Database,
    *,
    repository_id: str | None = None,
    state: str | None = None,
    limit: int = 50,
) -> tuple[TaskView, ...]:
    """Return up to `limit` tasks, newest first."""

    def query(connection: Connection) -> tuple[TaskView, ...]:
        found = tasks.recent(connection, repository_id=repository_id, state=state, limit=limit)
        return _views(connection, found)

    return await database.read(query)


async def pick(database: Database, attempt_id: str) -> None:
    """Note that a person prefers this attempt to the others of its task.

    Raises:
        NotFoundError: there is no such attempt.
    """

    def work(connection: Connection) -> None:
        attempt = attempts.get(connection, attempt_id)
        tasks.set_picked(connection, attempt.task_id, attempt.id)

    await database.tx(work)


def _find(connection: Connection, identifier: str) -> tuple[TaskView, Attempt | None]:
    # A prefix that fits a task means the task, even where it fits an attempt too.
    if prefix.candidates(connection, schema.tasks, identifier):
        return _views(connection, [tasks.find(connection, identifier)])[0], None
    if not prefix.candidates(connection, schema.attempts, identifier):
        raise NotFoundError(f"There is no task or attempt {identifier!r}.", "See `overnight task list`.")
    attempt = attempts.find(connection, identifier)
    return _views(connection, [tasks.get(connection, attempt.task_id)])[0], attempt


def _views(connection: Connection, found: Sequence[Task]) -> tuple[TaskView, ...]:
    by_task: dict[str, list[Attempt]] = {task.id: [] for task in found}
    for attempt in attempts.of_tasks(connection, list(by_task)):
        by_task[attempt.task_id].append(attempt)
    ids = [attempt.id for of_task in by_task.values() for attempt in of_task]
    turns = attempts.turns_of(connection, ids)
    said: dict[str, list[Command]] = {}
    for command in commands.of_attempts(connection, ids):
        said.setdefault(command.attempt_id, []).append(command)
    origins = {task.repository_id for task in found}
    repository = {origin: repositories.get(connection, origin) for origin in origins}
    return tuple(
        TaskView(
            task=task,
            repository=repository[task.repository_id],
            attempts=tuple(by_task[task.id]),
            turns={attempt.id: turns[attempt.id] for attempt in by_task[task.id]},
            commands={attempt.id: tuple(said.get(attempt.id, ())) for attempt in by_task[task.id]},
            pull_request=next(iter(pull_requests.of_task(connection, task.id)), None),
        )
        for task in found
    )
