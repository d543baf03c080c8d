"""Attempts and their turns in SQL: state, patch and verdict are a turn's; an attempt shows its last one."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, insert, select, update

from overnight.domain.errors import ConflictError, NotFoundError
from overnight.domain.ids import short
from overnight.domain.network import Blocked
from overnight.domain.states import TURN_ENDED, TurnState, may_turn
from overnight.domain.task import Attempt, PatchStats, Seconds, Usage
from overnight.domain.verdict import Verdict
from overnight.store.prefix import resolve
from overnight.store.schema import NEW, attempts, turns

_patch = msgspec.json.Decoder(PatchStats)
_verdict = msgspec.json.Decoder(Verdict)
_usage = msgspec.json.Decoder(Usage)
_blocked = msgspec.json.Decoder(tuple[Blocked, ...])
_seconds = msgspec.json.Decoder(Seconds)

_last_turn = and_(turns.c.attempt_id == attempts.c.id, turns.c.number == attempts.c.turn)
_everything = select(
    attempts.c.id,
    attempts.c.task_id,
    attempts.c.number,
    attempts.c.agent,
    attempts.c.model,
    attempts.c.usage,
    attempts.c.seconds,
    attempts.c.created_at,
    attempts.c.blocked,
    turns.c.state,
    turns.c.message,
    turns.c.patch,
    turns.c.verdict,
    turns.c.cancel_requested,
    turns.c.ended_at,
).join_from(attempts, turns, _last_turn)


def insert_one(connection: Connection, attempt: Attempt) -> None:
    """Store a new attempt and its first turn; its state must be `queued`."""
    connection.execute(
        insert(attempts).values(
            id=attempt.id,
            task_id=attempt.task_id,
            number=attempt.number,
            agent=attempt.agent,
            model=attempt.model,
            turn=1,
            usage=_text(attempt.usage),
            seconds=_text(attempt.seconds),
            created_at=attempt.created_at,
        )
    )
    connection.execute(
        insert(turns).values(
            attempt_id=attempt.id,
            number=1,
            previous_state=NEW,
            state=attempt.state,
            message=attempt.message,
            cancel_requested=attempt.cancel_requested,
            created_at=attempt.created_at,
        )
    )


def get(connection: Connection, attempt_id: str) -> Attempt:
    """Return the attempt with that id.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(_everything.where(attempts.c.id == attempt_id)).first()
    if row is None:
        raise NotFoundError(f"There is no attempt {short(attempt_id)}.", "See `overnight task list`.")
    return _attempt(row)


def find(connection: Connection, prefix: str) -> Attempt:
    """Return the attempt whose id begins with `prefix`.

    Raises:
        NotFoundError: no attempt's id begins so.
        UsageError: the prefix is too short or fits several attempts.
    """
    return get(connection, resolve(connection, attempts, prefix, "attempt"))


def of_task(connection: Connection, task_id: str) -> tuple[Attempt, ...]:
    """Return the task's attempts by number."""
    return of_tasks(connection, (task_id,))


def of_tasks(connection: Connection, task_ids: Sequence[str]) -> tuple[Attempt, ...]:
    """Return the attempts of several tasks, by task and number."""
    query = _everything.where(attempts.c.task_id.in_(task_ids)).order_by(
        attempts.c.task_id, attempts.c.number
    )
    return tuple(_attempt(row) for row in connection.execute(query))


def advance(
    connection: Connection,
    attempt_id: str,
    before: TurnState,
    after: TurnState,
    at: float,
    *,
    message: str | None = None,
    patch: PatchStats | None = None,
    verdict: Verdict | None = None,
    usage: Usage | None = None,
    seconds: Seconds | None = None,
) -> None:
    """Change the state from `before` to `after` at time `at`, and store what is given with it.

    Raises:
        ConflictError: the attempt is not in `before`, or the table of states forbids the change.
    """
    if not may_turn(before, after):
        raise ConflictError(f"An attempt cannot go from {before} to {after}.")
    ended = {"ended_at": at} if after in TURN_ENDED else {}
    changed = connection.execute(
        update(turns)
        .where(*_current(attempt_id), turns.c.state == before)
        .values(previous_state=before, state=after, **ended)
    )
    if changed.rowcount == 0:
        state = get(connection, attempt_id).state
        raise ConflictError(f"Attempt {short(attempt_id)} is {state}, not {before}.", "Look at it again.")
    record(
        connection,
        attempt_id,
        message=message,
        patch=patch,
        verdict=verdict,
        usage=usage,
        seconds=seconds,
    )


def record(
    connection: Connection,
    attempt_id: str,
    *,
    message: str | None = None,
    patch: PatchStats | None = None,
    verdict: Verdict | None = None,
    usage: Usage | None = None,
    seconds: Seconds | None = None,
    blocked: tuple[Blocked, ...] | None = None,
) -> None:
    """Store what is given and leave the rest as it is; the state does not change."""
    of_turn: dict[str, Any] = {} if message is None else {"message": message}
    of_turn |= {name: _text(value) for name, value in (("patch", patch), ("verdict", verdict)) if value}
    given = (("usage", usage), ("seconds", seconds), ("blocked", blocked))
    of_attempt = {name: _text(value) for name, value in given if value is not None}
    if of_turn:
        connection.execute(update(turns).where(*_current(attempt_id)).values(**of_turn))
    if of_attempt:
        connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(**of_attempt))


def request_cancel(connection: Connection, attempt_id: str, wanted: bool = True) -> bool:
    """Ask whoever works on the attempt to stop (or take it back); False if it has ended already."""
    changed = connection.execute(
        update(turns)
        .where(*_current(attempt_id), turns.c.state.not_in(TURN_ENDED))
        .values(cancel_requested=wanted)
    )
    return changed.rowcount > 0


def _current(attempt_id: str) -> tuple[Any, Any]:
    """The conditions that pick the attempt's last turn."""
    last = select(attempts.c.turn).where(attempts.c.id == attempt_id).scalar_subquery()
    return turns.c.attempt_id == attempt_id, turns.c.number == last


def _text(value: msgspec.Struct | tuple[Blocked, ...]) -> str:
    return msgspec.json.encode(value).decode()


def _attempt(row: Any) -> Attempt:
    return Attempt(
        id=row.id,
        task_id=row.task_id,
        number=row.number,
        agent=row.agent,
        model=row.model,
        state=row.state,
        message=row.message,
        patch=None if row.patch is None else _patch.decode(row.patch),
        verdict=None if row.verdict is None else _verdict.decode(row.verdict),
        usage=_usage.decode(row.usage),
        seconds=_seconds.decode(row.seconds),
        blocked=() if row.blocked is None else _blocked.decode(row.blocked),
        cancel_requested=row.cancel_requested,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
