"""Another attempt that begins where one stood after a step; rewinding is a fork that takes its place."""

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection

from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.events import AttemptForked, Event, StepEnded
from overnight.domain.ids import new_id, short
from overnight.domain.limits import Limits
from overnight.domain.network import Network
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt
from overnight.events.folds import finished_history
from overnight.events.lineage import base_of, cut
from overnight.events.log import EventLog, append_last
from overnight.store import attempts, commands, jobs
from overnight.store.database import Database
from overnight.tasks.cancel import cancel_one, dead_owners, expire, reopen
from overnight.tasks.submit import MAX_ATTEMPTS
from overnight.tasks.words import check_words


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a fork. What is empty or None is as with its origin."""

    origin: str
    step: int
    """0 is the start: nothing is taken over but the task."""
    agent: str = ""
    model: str = ""
    message: str = ""
    limits: Limits | None = None
    network: Network | None = None
    """Only at the start: later, the conversation tells of what could be reached."""
    replaces: bool = False
    """Whether it takes its origin's place, which ends where it has not."""


async def fork(
    database: Database, log: EventLog, wanted: Fork, now: float, is_alive: Callable[[str], bool]
) -> Attempt:
    """Store the new attempt with a job, and return it. Nothing of the origin is copied.

    Raises:
        NotFoundError: there is no such attempt, or no such finished step.
        UsageError: what is asked makes no sense, and why.
        ConflictError: another attempt took the origin's place already.
    """
    origin = await database.read(lambda connection: attempts.get(connection, wanted.origin))
    events = await log.lineage(origin.id)
    kept = cut(events, wanted.step) if wanted.step else []
    words = check_words(wanted.message) if wanted.message else ""
    _validate(wanted, origin, events)
    base = base_of(kept, await database.read(lambda connection: _first_base(connection, origin)))
    dead = await dead_owners(database, now, is_alive)

    def work(connection: Connection) -> Attempt:
        expire(connection, dead)
        others = attempts.of_task(connection, origin.task_id)
        if len(others) >= MAX_ATTEMPTS:
            raise UsageError(f"The task has {len(others)} attempts.", f"At most {MAX_ATTEMPTS} can be made.")
        made = Attempt(
            id=new_id(),
            task_id=origin.task_id,
            number=max(one.number for one in others) + 1,
            agent=wanted.agent or origin.agent,
            model=wanted.model or origin.model,
            state="queued",
            base_commit=base,
            forked_from=origin.id,
            fork_step=wanted.step,
            limits=wanted.limits or origin.limits,
            network=wanted.network or origin.network,
            created_at=now,
        )
        attempts.insert_one(connection, made)
        append_last(connection, made.id, 0, AttemptForked(origin=origin.id, step=wanted.step), now)
        if words:
            commands.insert_one(connection, made.id, "message", now, words)
        jobs.enqueue(
            connection, kind="turn", task_id=made.task_id, attempt_id=made.id, now=now, place=made.number
        )
        reopen(connection, made.task_id)
        if wanted.replaces:
            _replace(connection, origin, made, now)
        return attempts.get(connection, made.id)

    return await database.tx(work)


def _validate(wanted: Fork, origin: Attempt, events: list[Event]) -> None:
    if wanted.network is not None and wanted.step:
        raise UsageError(
            "The network can only be changed at the start: the conversation tells what could be reached.",
            "Fork with --at start.",
        )
    last = [event.step for event in finished_history(events) if isinstance(event, StepEnded)][-1:]
    same = wanted.agent in ("", origin.agent)
    if origin.verdict is not None and [wanted.step] == last and not wanted.message and same:
        raise UsageError(
            f"Step {wanted.step} is the last one: the agent handed back there, and would do so again.",
            'Say what to do: --message "…", or fork at an earlier step.',
        )


def _first_base(connection: Connection, attempt: Attempt) -> str:
    """Return the base that the first of the attempt's line began with; empty: the task's."""
    while attempt.forked_from is not None:
        attempt = attempts.get(connection, attempt.forked_from)
    return attempts.turns_of(connection, (attempt.id,))[attempt.id][0].base_commit


def _replace(connection: Connection, origin: Attempt, made: Attempt, now: float) -> None:
    origin = attempts.get(connection, origin.id)
    if origin.superseded_by is not None:
        raise ConflictError(
            f"Attempt {short(origin.superseded_by)} took the place of {short(origin.id)} already.",
            f"Rewind that one: overnight task rewind {short(origin.superseded_by)} --at STEP",
        )
    attempts.supersede(connection, origin.id, made.id)
    if origin.state not in TURN_ENDED:
        cancel_one(connection, origin, now, f"Superseded by attempt {made.number} ({short(made.id)}).")
