"""Attempts and their turns in SQL: state, patch and verdict are a turn's; an attempt shows its last one."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, insert, select, update

from overnight.domain.errors import ConflictError, NotFoundError
from overnight.domain.ids import short
from overnight.domain.limits import Limits
from overnight.domain.network import Blocked, Network
from overnight.domain.states import TURN_ENDED, TurnState, may_turn
from overnight.domain.task import Attempt, PatchStats, Seconds, Turn, Usage
from overnight.domain.verdict import Verdict
from overnight.store.prefix import resolve
from overnight.store.schema import NEW, attempts, turns

_patch = msgspec.json.Decoder(PatchStats)
_verdict = msgspec.json.Decoder(Verdict)
_usage = msgspec.json.Decoder(Usage)
_blocked = msgspec.json.Decoder(tuple[Blocked, ...])
_seconds = msgspec.json.Decoder(Seconds)
_limits = msgspec.json.Decoder(Limits)
_network = msgspec.json.Decoder(Network)

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
    attempts.c.turn,
    attempts.c.forked_from,
    attempts.c.fork_step,
    attempts.c.superseded_by,
    attempts.c.limits,
    attempts.c.network,
    turns.c.state,
    turns.c.message,
    turns.c.prompt,
    turns.c.base_commit,
    turns.c.patch,
    turns.c.verdict,
    turns.c.created_at.label("turn_created_at"),
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
            forked_from=attempt.forked_from,
            fork_step=attempt.fork_step,
            limits=None if attempt.limits is None else _text(attempt.limits),
            network=None if attempt.network is None else _text(attempt.network),
        )
    )
    _begin(connection, attempt.id, 1, attempt.created_at, attempt.prompt, attempt.base_commit, attempt.state)


def begin_turn(connection: Connection, attempt: Attempt, prompt: str, base_commit: str, at: float) -> Attempt:
    """Begin another turn of an attempt that has ended, and return the attempt as it stands then."""
    number = attempt.turn + 1
    _begin(connection, attempt.id, number, at, prompt, base_commit)
    connection.execute(update(attempts).where(attempts.c.id == attempt.id).values(turn=number))
    return get(connection, attempt.id)


def _begin(
    connection: Connection, attempt_id: str, number: int, at: float, prompt: str, base: str,
    state: TurnState = "queued",
) -> None:  # fmt: skip
    connection.execute(
        insert(turns).values(
            attempt_id=attempt_id,
            number=number,
            previous_state=NEW,
            state=state,
            message="",
            created_at=at,
            prompt=prompt or None,
            base_commit=base or None,
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


def turns_of(connection: Connection, attempt_ids: Sequence[str]) -> dict[str, tuple[Turn, ...]]:
    """Return the turns of several attempts, by attempt and number."""
    query = select(turns).where(turns.c.attempt_id.in_(attempt_ids))
    found: dict[str, tuple[Turn, ...]] = {}
    for row in connection.execute(query.order_by(turns.c.attempt_id, turns.c.number)):
        found[row.attempt_id] = (*found.get(row.attempt_id, ()), _turn(row))
    return found


def supersede(connection: Connection, attempt_id: str, by: str) -> None:
    """Note that another attempt took the place of this one."""
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(superseded_by=by))


def set_limits(connection: Connection, attempt_id: str, limits: Limits) -> None:
    """Give the attempt limits of its own."""
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(limits=_text(limits)))


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


def _current(attempt_id: str) -> tuple[Any, Any]:
    """The conditions that pick the attempt's last turn."""
    last = select(attempts.c.turn).where(attempts.c.id == attempt_id).scalar_subquery()
    return turns.c.attempt_id == attempt_id, turns.c.number == last


def _text(value: msgspec.Struct | tuple[Blocked, ...]) -> str:
    return msgspec.json.encode(value).decode()


def _turn(row: Any) -> Turn:
    return Turn(
        number=row.number,
        state=row.state,
        prompt=row.prompt or "",
        message=row.message,
        base_commit=row.base_commit or "",
        patch=None if row.patch is None else _patch.decode(row.patch),
        verdict=None if row.verdict is None else _verdict.decode(row.verdict),
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def _attempt(row: Any) -> Attempt:
    return Attempt(
        id=row.id,
        task_id=row.task_id,
        number=row.number,
        agent=row.agent,
        model=row.model,
        state=row.state,
        turn=row.turn,
        prompt=row.prompt or "",
        message=row.message,
        base_commit=row.base_commit or "",
        patch=None if row.patch is None else _patch.decode(row.patch),
        verdict=None if row.verdict is None else _verdict.decode(row.verdict),
        usage=_usage.decode(row.usage),
        seconds=_seconds.decode(row.seconds),
        blocked=() if row.blocked is None else _blocked.decode(row.blocked),
        forked_from=row.forked_from,
        fork_step=row.fork_step or 0,
        superseded_by=row.superseded_by,
        limits=None if row.limits is None else _limits.decode(row.limits),
        # As with a task's: what cannot be read grants nothing.
        network=None if row.network is None else _read_network(row.network),
        created_at=row.created_at,
        turn_created_at=row.turn_created_at,
        ended_at=row.ended_at,
    )


def _read_network(text: str) -> Network:
    try:
        return _network.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Network()
