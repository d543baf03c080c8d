"""The one queue: jobs held by leases. A claim raises the epoch, which fences off every earlier holder.

A job whose attempt waits for a person is `waiting`: nobody may claim it until it is woken.

An owner is a process, written `host:pid:start`: the start time tells a process from a later one that got the
same pid.
"""

from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, func, insert, or_, select, update

from overnight.domain.errors import StaleLeaseError
from overnight.domain.ids import new_id, short
from overnight.store.schema import jobs

JobState = Literal["ready", "running", "waiting", "done"]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The process behind a lease. `start` is in the unit of whoever wrote it."""

    host: str
    pid: int
    start: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Something that one worker at a time carries out. `lease_until` is seconds since the epoch."""

    id: str
    kind: str
    task_id: str
    attempt_id: str
    """Empty for a job that belongs to no attempt."""
    state: JobState
    priority: int
    owner: str | None
    epoch: int
    lease_until: float
    created_at: float


def parse_owner(text: str) -> Owner | None:
    """Return the parts of `host:pid:start`; None if it is nothing of the kind."""
    host, _, rest = text.partition(":")
    pid, _, start = rest.partition(":")
    if not host or not pid.isdecimal() or not start:
        return None
    return Owner(host=host, pid=int(pid), start=start)


def enqueue(
    connection: Connection,
    *,
    kind: str,
    task_id: str,
    attempt_id: str = "",
    now: float,
    priority: int = 0,
    place: int = 0,
) -> Job:
    """Add a job. Higher `priority` first, then older, then smaller `place` among those of one moment."""
    # The log refuses chunks of an older epoch, so a later job of an attempt must go on counting.
    earlier = select(func.max(jobs.c.epoch)).where(jobs.c.attempt_id == attempt_id)
    epoch = connection.execute(earlier).scalar() or 0
    job = Job(
        id=new_id(),
        kind=kind,
        task_id=task_id,
        attempt_id=attempt_id,
        state="ready",
        priority=priority,
        owner=None,
        epoch=epoch,
        lease_until=0.0,
        created_at=now,
    )
    columns = msgspec.structs.asdict(job) | {"attempt_id": attempt_id or None, "place": place}
    connection.execute(insert(jobs).values(**columns))
    return job


def claim(
    connection: Connection,
    *,
    owner: str,
    now: float,
    lease_seconds: float,
    capacity: int,
    task_id: str | None = None,
) -> Job | None:
    """Take the next job that nobody holds, of `task_id` only if given; None if there is none.

    `capacity` bounds the jobs that run on this store at the same time, whoever runs them.
    """
    if running(connection, now) >= capacity:
        return None
    query = select(jobs).where(
        or_(jobs.c.state == "ready", (jobs.c.state == "running") & (jobs.c.lease_until <= now))
    )
    if task_id is not None:
        query = query.where(jobs.c.task_id == task_id)
    order = (jobs.c.priority.desc(), jobs.c.created_at, jobs.c.place, jobs.c.id)
    row = connection.execute(query.order_by(*order).limit(1)).first()
    if row is None:
        return None
    taken = connection.execute(
        update(jobs)
        .where(jobs.c.id == row.id, jobs.c.epoch == row.epoch, jobs.c.state == row.state)
        .values(state="running", owner=owner, epoch=row.epoch + 1, lease_until=now + lease_seconds)
    )
    if taken.rowcount == 0:
        return None
    return msgspec.structs.replace(
        _job(row), state="running", owner=owner, epoch=row.epoch + 1, lease_until=now + lease_seconds
    )


def running(connection: Connection, now: float) -> int:
    """Return how many jobs are held by a live lease."""
    live = select(func.count()).where(jobs.c.state == "running", jobs.c.lease_until > now)
    return connection.execute(live).scalar_one()


def pending(connection: Connection, task_id: str) -> int:
    """Return how many jobs of the task run or could run, whoever holds them; those that wait do not count."""
    query = select(func.count()).where(jobs.c.task_id == task_id, jobs.c.state.in_(("ready", "running")))
    return connection.execute(query).scalar_one()


def beat(connection: Connection, job: Job, now: float, lease_seconds: float) -> None:
    """Prolong the lease.

    Raises:
        StaleLeaseError: another worker holds the job by now, or it was taken away.
    """
    _change(connection, job, lease_until=now + lease_seconds)


def check(connection: Connection, job: Job) -> None:
    """Make sure that `job` is still ours; call it first in every transaction that a worker writes.

    Raises:
        StaleLeaseError: another worker holds the job by now, or it was taken away.
    """
    held = select(jobs.c.id).where(*_held(job))
    if connection.execute(held).first() is None:
        raise _stale(job)


def finish(connection: Connection, job: Job) -> None:
    """End the job for good.

    Raises:
        StaleLeaseError: another worker holds the job by now, or it was taken away.
    """
    _change(connection, job, state="done", lease_until=0.0)


def release(connection: Connection, job: Job) -> None:
    """Give the job back unfinished; anybody may claim it at once.

    Raises:
        StaleLeaseError: another worker holds the job by now, or it was taken away.
    """
    _change(connection, job, state="ready", owner=None, lease_until=0.0)


def park(connection: Connection, job: Job) -> None:
    """Give the job back until a person says something; nobody may claim it before it is woken.

    Raises:
        StaleLeaseError: another worker holds the job by now, or it was taken away.
    """
    _change(connection, job, state="waiting", owner=None, lease_until=0.0)


def wake(connection: Connection, attempt_id: str) -> bool:
    """Let the attempt's waiting job be claimed; False if none waits."""
    changed = connection.execute(
        update(jobs).where(jobs.c.attempt_id == attempt_id, jobs.c.state == "waiting").values(state="ready")
    )
    return changed.rowcount > 0


def open_of(connection: Connection, attempt_id: str) -> Job | None:
    """Return the attempt's job that is not done, if there is one."""
    query = select(jobs).where(jobs.c.attempt_id == attempt_id, jobs.c.state != "done")
    row = connection.execute(query).first()
    return None if row is None else _job(row)


def owner_of(connection: Connection, attempt_id: str, now: float) -> str | None:
    """Return who holds a live lease on the attempt, None if nobody does."""
    job = open_of(connection, attempt_id)
    return job.owner if job and job.state == "running" and job.lease_until > now else None


def owners(connection: Connection, now: float) -> tuple[str, ...]:
    """Return everybody who holds a live lease, so that the caller can see who is dead."""
    query = select(jobs.c.owner).where(jobs.c.state == "running", jobs.c.lease_until > now).distinct()
    return tuple(connection.execute(query).scalars())


def expire_owner(connection: Connection, owner: str) -> int:
    """End all leases of an owner known to be dead; return how many jobs may be claimed at once."""
    changed = connection.execute(
        update(jobs).where(jobs.c.owner == owner, jobs.c.state == "running").values(lease_until=0.0)
    )
    return changed.rowcount


def withdraw(connection: Connection, attempt_id: str, state: JobState = "done") -> int:
    """End the attempt's open job, or let it wait, without its holder; return the epoch that fences it off."""
    job = open_of(connection, attempt_id)
    connection.execute(
        update(jobs)
        .where(jobs.c.attempt_id == attempt_id, jobs.c.state != "done")
        .values(state=state, owner=None, epoch=jobs.c.epoch + 1, lease_until=0.0)
    )
    return job.epoch + 1 if job else 0


def _held(job: Job) -> tuple[Any, ...]:
    return (
        jobs.c.id == job.id,
        jobs.c.epoch == job.epoch,
        jobs.c.owner == job.owner,
        jobs.c.state == "running",
    )


def _change(connection: Connection, job: Job, **values: object) -> None:
    changed = connection.execute(update(jobs).where(*_held(job)).values(**values))
    if changed.rowcount == 0:
        raise _stale(job)


def _stale(job: Job) -> StaleLeaseError:
    what = f"attempt {short(job.attempt_id)}" if job.attempt_id else f"job {short(job.id)}"
    return StaleLeaseError(
        f"Another worker holds {what} by now.", "Nothing of this one was kept; see `overnight task view`."
    )


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        task_id=row.task_id,
        attempt_id=row.attempt_id or "",
        state=row.state,
        priority=row.priority,
        owner=row.owner,
        epoch=row.epoch,
        lease_until=row.lease_until,
        created_at=row.created_at,
    )
