"""Laying an attempt down until a person says something: nobody holds it, and nothing of it runs."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection

from overnight.domain.commands import ARRIVALS, CommandKind
from overnight.domain.events import AttemptWaiting, CommandAccepted, CommandRefused, Event
from overnight.events.log import append_last
from overnight.events.writer import LogWriter
from overnight.store import attempts, commands, jobs
from overnight.store.jobs import Job
from overnight.tasks.cancel import REASON as CANCELED
from overnight.tasks.cancel import cancel_one, settle
from overnight.tasks.pause import REASON
from overnight.worker.engine import Engine

Opened = TypeVar("Opened")
Left = Literal["ended", "waiting", "ready"]
"""How the holder of a job leaves it: finished, waiting for a person, or to be claimed again."""
PAUSABLE = ("queued", "preparing", "working")
WAITS = "The attempt waits already."


async def whole(opening: Coroutine[Any, Any, Opened], stop: Callable[[], CommandKind | None]) -> Opened:
    """Open an attempt. What a person wants of it by now waits for that: cut off, it would begin again."""
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop() is None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        return await task


async def lay_down(engine: Engine, job: Job, events: LogWriter, event: AttemptWaiting, message: str) -> None:
    """Let the attempt wait: state, event and job change in one transaction.

    Nothing may be emitted to `events` afterwards. What a person said meanwhile answers a question.

    Raises:
        StaleLeaseError: another worker holds the attempt; nothing was written.
    """
    events.release()
    await events.flush()
    now = engine.clock.time()

    def work(conn: Connection) -> None:
        jobs.check(conn, job)
        attempt = attempts.get(conn, job.attempt_id)
        attempts.advance(conn, attempt.id, attempt.state, event.state, now, message=message)
        refused: list[Event] = []
        for command in commands.pending(conn, attempt.id, ("pause",)):
            commands.settle(conn, command.id, "refused", now, WAITS)
            refused.append(CommandRefused(command_id=command.id, kind="pause", reason=WAITS))
        for kept in events.last([*refused, event]):
            append_last(conn, attempt.id, job.epoch, kept, now)
        jobs.park(conn, job)
        _cancel(conn, job, now)
        if event.state == "needs_input" and commands.pending(conn, attempt.id, ARRIVALS):
            jobs.wake(conn, attempt.id)

    await engine.database.tx(work)
    engine.log.wake(job.attempt_id)


async def pause(engine: Engine, job: Job, events: LogWriter) -> Left:
    """Lay an attempt down whose work was cut off; refused where it was about to end, which it then does.

    Raises:
        StaleLeaseError: another worker holds the attempt; nothing was written.
    """
    events.release()
    await events.flush()
    now = engine.clock.time()

    def work(conn: Connection) -> Left:
        jobs.check(conn, job)
        attempt = attempts.get(conn, job.attempt_id)
        pausable = attempt.state in PAUSABLE
        last: list[Event] = []
        for command in commands.pending(conn, attempt.id, ("pause",)):
            reason = "" if pausable else f"The attempt is {attempt.state}."
            commands.settle(conn, command.id, "accepted" if pausable else "refused", now, reason)
            last.append(
                CommandAccepted(command_id=command.id, kind="pause")
                if pausable
                else CommandRefused(command_id=command.id, kind="pause", reason=reason)
            )
        if pausable:
            attempts.advance(conn, attempt.id, attempt.state, "paused", now, message=REASON)
            jobs.park(conn, job)
            last.append(AttemptWaiting(state="paused"))
        for event in last:
            append_last(conn, attempt.id, job.epoch, event, now)
        if pausable:
            _cancel(conn, job, now)
        return "waiting" if pausable else "ready"

    left = await engine.database.tx(work)
    engine.log.wake(job.attempt_id)
    return left


def _cancel(conn: Connection, job: Job, now: float) -> None:
    """End what was just laid down if a person wants that by now: nobody holds it who would see it later."""
    for command in commands.pending(conn, job.attempt_id, ("cancel",)):
        cancel_one(conn, attempts.get(conn, job.attempt_id), now, command.text or CANCELED)
        settle(conn, job.task_id)
