"""The end of a task: rank its attempts, pick the best, open a pull request for it if it is verified."""

from collections.abc import Sequence

from sqlalchemy import Connection

from overnight.domain.events import Event, PullRequestOpened
from overnight.domain.ports import EventSink
from overnight.domain.task import Attempt, PullRequest, Task
from overnight.forges.body import pull_request_body, pull_request_title
from overnight.store import attempts, pull_requests, tasks
from overnight.store.jobs import Job
from overnight.tasks.cancel import settle
from overnight.verify.rank import rank
from overnight.worker.engine import Engine


async def conclude(engine: Engine, job: Job, events: EventSink, log: Sequence[Event] = ()) -> None:
    """Close the task once all its attempts have ended; safe to call again, and by several at once.

    `log` is what the attempt's log held when it was taken up: a pull request that a lost worker opened
    without living to say so is said now.
    """
    now = engine.clock.time()
    opened = await engine.database.tx(lambda conn: _conclude(conn, job.task_id, now))
    if opened is None:
        opened = await engine.database.read(lambda conn: pull_requests.of_attempt(conn, job.attempt_id))
        if opened is None or any(isinstance(event, PullRequestOpened) for event in log):
            return
    events.emit(
        PullRequestOpened(number=opened.number, forge=opened.forge, branch=opened.branch, title=opened.title)
    )


def _conclude(conn: Connection, task_id: str, now: float) -> PullRequest | None:
    """Return the pull request if one was opened just now."""
    if not settle(conn, task_id):
        return None
    task = tasks.get(conn, task_id)
    ranked = rank(attempts.of_task(conn, task_id))
    best = ranked[0].attempt if ranked else None
    if best is None or best.verdict is None or not best.verdict.verified or best.patch is None:
        return None
    tasks.set_picked(conn, task_id, best.id)
    return open_pull_request(conn, task, best, now)


def open_pull_request(conn: Connection, task: Task, attempt: Attempt, now: float) -> PullRequest:
    """Open the attempt's pull request on the local forge, or return the one that stands already."""
    assert attempt.patch is not None
    standing = pull_requests.of_attempt(conn, attempt.id)
    if standing is not None:
        return standing
    request = PullRequest(
        number=0,
        task_id=task.id,
        attempt_id=attempt.id,
        repository_id=task.repository_id,
        forge="local",
        branch=attempt.patch.branch,
        base_ref=task.base_ref,
        base_commit=task.base_commit,
        head_commit=attempt.patch.commit,
        title=pull_request_title(task),
        body=pull_request_body(task, attempt),
        state="open",
        created_at=now,
    )
    return pull_requests.insert_one(conn, request)
