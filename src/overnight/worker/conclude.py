"""The end of a task: rank its attempts, pick the best, open a pull request for it if it is verified."""

from sqlalchemy import Connection

from overnight.domain.events import AttemptEnded, Event, PullRequestOpened
from overnight.domain.ports import Redaction
from overnight.domain.states import TURN_ENDED, TurnState
from overnight.domain.task import Attempt, PullRequest, Task
from overnight.events.log import append_last
from overnight.events.writer import LogWriter
from overnight.forges.body import pull_request_body, pull_request_title
from overnight.store import attempts, jobs, pull_requests, tasks
from overnight.store.jobs import Job
from overnight.tasks.cancel import settle
from overnight.verify.rank import rank
from overnight.worker.engine import Engine


async def end_attempt(
    engine: Engine,
    job: Job,
    events: LogWriter,
    state: TurnState,
    redaction: Redaction,
    message: str | None = None,
) -> None:
    """End an attempt, and its task with the last one: state, pull request and last events in one transaction.

    Nothing may be emitted to `events` afterwards. An attempt that has ended already stays as it is.

    Raises:
        StaleLeaseError: another worker holds the attempt; nothing was written.
    """
    events.release()
    await events.flush()
    now = engine.clock.time()

    def work(conn: Connection) -> None:
        jobs.check(conn, job)
        attempt = attempts.get(conn, job.attempt_id)
        ended = attempt.state in TURN_ENDED
        if not ended:
            attempts.advance(conn, attempt.id, attempt.state, state, now, message=message)
        opened = _conclude(conn, job.task_id, now, redaction)
        last: list[Event] = []
        if opened is not None:
            last.append(
                PullRequestOpened(
                    number=opened.number, forge=opened.forge, branch=opened.branch, title=opened.title
                )
            )
        if not ended:
            summary = attempts.get(conn, attempt.id).message
            last.append(AttemptEnded(state=state, summary=summary))
        for event in events.last(last):
            append_last(conn, attempt.id, job.epoch, event, now)

    await engine.database.tx(work)
    engine.log.wake(job.attempt_id)


def _conclude(conn: Connection, task_id: str, now: float, redaction: Redaction) -> PullRequest | None:
    """Return the pull request if one was opened just now."""
    if not settle(conn, task_id):
        return None
    task = tasks.get(conn, task_id)
    ranked = rank(attempts.of_task(conn, task_id))
    best = ranked[0].attempt if ranked else None
    if best is None or best.verdict is None or not best.verdict.verified or best.patch is None:
        return None
    tasks.set_picked(conn, task_id, best.id)
    return open_pull_request(conn, task, best, now, redaction)


def open_pull_request(
    conn: Connection, task: Task, attempt: Attempt, now: float, redaction: Redaction
) -> PullRequest:
    """Open the attempt's pull request on the local forge, or return the one that stands already."""
    assert attempt.patch is not None
    standing = pull_requests.of_attempt(conn, attempt.id)
    if standing is not None:
        return standing
    task, attempt = redaction.value((task, attempt))
    assert attempt.patch is not None
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
