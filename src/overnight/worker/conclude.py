"""The end of a task: rank its attempts, pick the best, open a pull request for it if it is verified."""

import msgspec
from sqlalchemy import Connection

from overnight.domain.events import (
    AttemptEnded,
    CommandAccepted,
    Event,
    PullRequestOpened,
    PullRequestUpdated,
)
from overnight.domain.ports import Redaction
from overnight.domain.states import TURN_ENDED, TurnState
from overnight.domain.task import Attempt, PullRequest, Task
from overnight.events.log import append_last
from overnight.events.writer import LogWriter
from overnight.forges.body import pull_request_body, pull_request_title
from overnight.store import attempts, commands, jobs, pull_requests, tasks
from overnight.store.jobs import Job
from overnight.tasks.cancel import refuse_rest, settle
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
    """End an attempt's turn, and its task with the last one: state, pull request, last events in one go.

    What people said to it and it has not accepted is refused; a cancel counts as accepted by this.

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
        last: list[Event] = []
        if not ended:
            reason = message
            if state == "canceled":
                for command in commands.pending(conn, attempt.id, ("cancel",)):
                    commands.settle(conn, command.id, "accepted", now)
                    last.append(CommandAccepted(command_id=command.id, kind="cancel", text=command.text))
                    reason = command.text or reason
            attempts.advance(conn, attempt.id, attempt.state, state, now, message=reason)
            last += refuse_rest(conn, attempt.id, now)
        last += _published(conn, job, now, redaction)
        if not ended:
            summary = attempts.get(conn, attempt.id).message
            last.append(AttemptEnded(state=state, summary=summary))
        for event in events.last(last):
            append_last(conn, attempt.id, job.epoch, event, now)

    await engine.database.tx(work)
    engine.log.wake(job.attempt_id)


def _published(conn: Connection, job: Job, now: float, redaction: Redaction) -> list[Event]:
    """Bring the attempt's pull request up to date, or open one for the best; return what that makes known."""
    events: list[Event] = []
    updated = _update(conn, attempts.get(conn, job.attempt_id), redaction)
    if updated is not None:
        events.append(
            PullRequestUpdated(
                number=updated.number, forge=updated.forge, branch=updated.branch, commit=updated.head_commit
            )
        )
    opened = _conclude(conn, job.task_id, now, redaction)
    if opened is not None:
        events.append(
            PullRequestOpened(
                number=opened.number, forge=opened.forge, branch=opened.branch, title=opened.title
            )
        )
    return events


def _update(conn: Connection, attempt: Attempt, redaction: Redaction) -> PullRequest | None:
    """Move an open pull request to the patch of the turn that ended, whatever was found: its text says."""
    standing = pull_requests.of_attempt(conn, attempt.id)
    if standing is None or standing.state != "open" or attempt.patch is None:
        return None
    if standing.head_commit == attempt.patch.commit:
        return None
    moved = msgspec.structs.replace(
        standing,
        head_commit=attempt.patch.commit,
        base_commit=tasks.get(conn, attempt.task_id).seen_by(attempt).base_commit,
        body=_body(conn, attempt, redaction),
    )
    pull_requests.set_head(conn, moved)
    return moved


def _body(conn: Connection, attempt: Attempt, redaction: Redaction) -> str:
    task = tasks.get(conn, attempt.task_id).seen_by(attempt)
    turns = attempts.turns_of(conn, (attempt.id,))[attempt.id]
    shown = redaction.value((task, attempt, tuple(turn.prompt for turn in turns[1:])))
    return pull_request_body(shown[0], shown[1], follow_ups=shown[2])


def _conclude(conn: Connection, task_id: str, now: float, redaction: Redaction) -> PullRequest | None:
    """Return the pull request if one was opened just now.

    Where one is open already none is added, but for an attempt that took the place of its attempt.
    """
    if not settle(conn, task_id):
        return None
    task = tasks.get(conn, task_id)
    every = {attempt.id: attempt for attempt in attempts.of_task(conn, task_id)}
    ranked = rank([attempt for attempt in every.values() if attempt.superseded_by is None])
    best = ranked[0].attempt if ranked else None
    if best is None or best.verdict is None or not best.verdict.verified or best.patch is None:
        return None
    standing = [one for one in pull_requests.of_task(conn, task_id) if one.state != "closed"]
    replaced = [
        one
        for one in standing
        if one.state == "open"
        and one.attempt_id != best.id
        and every[one.attempt_id].superseded_by is not None
    ]
    if any(one.attempt_id == best.id for one in standing):
        tasks.set_picked(conn, task_id, best.id)
        return None
    if len(standing) > len(replaced):
        return None
    for one in replaced:
        pull_requests.set_closed(conn, one.number, one.forge)
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
    body = _body(conn, attempt, redaction)
    task, attempt = redaction.value((task.seen_by(attempt), attempt))
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
        body=body,
        state="open",
        created_at=now,
    )
    return pull_requests.insert_one(conn, request)
