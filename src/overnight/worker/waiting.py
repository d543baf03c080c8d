"""Laying an attempt down until a person says something: nobody holds it, and nothing of it runs."""

from typing import Literal

from sqlalchemy import Connection

from overnight.domain.commands import ARRIVALS
from overnight.domain.events import AttemptWaiting, CommandAccepted, CommandRefused, Event
from overnight.events.log import append_last
from overnight.events.writer import LogWriter
from overnight.store import attempts, commands, jobs
from overnight.store.jobs import Job
from overnight.tasks.pause import REASON
from overnight.worker.engine import Engine

Left = Literal["ended", "waiting", "ready"]
"""How the holder of a job leaves it: finished, waiting for a person, or to be claimed again."""
PAUSABLE = ("preparing", "working")


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
        for kept in events.last([event]):
            append_last(conn, attempt.id, job.epoch, kept, now)
        jobs.park(conn, job)
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
        return "waiting" if pausable else "ready"

    left = await engine.database.tx(work)
    engine.log.wake(job.attempt_id)
    return left
