"""Commands in SQL: pending until the holder of the lease accepts or refuses them, each exactly once."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from overnight.domain.commands import Command, CommandKind, CommandState
from overnight.domain.ids import new_id
from overnight.store.schema import attempts, commands, jobs


def insert_one(
    connection: Connection,
    attempt_id: str,
    kind: CommandKind,
    now: float,
    text: str = "",
    state: CommandState = "pending",
) -> Command:
    """Store a command to the attempt's last turn and return it."""
    turn = connection.execute(select(attempts.c.turn).where(attempts.c.id == attempt_id)).scalar_one()
    highest = select(func.max(commands.c.number)).where(commands.c.attempt_id == attempt_id)
    command = Command(
        id=new_id(),
        attempt_id=attempt_id,
        number=(connection.execute(highest).scalar() or 0) + 1,
        turn=turn,
        kind=kind,
        text=text,
        state=state,
        created_at=now,
        settled_at=None if state == "pending" else now,
    )
    connection.execute(insert(commands).values({name: getattr(command, name) for name in _FIELDS}))
    return command


def settle(
    connection: Connection, command_id: str, state: CommandState, now: float, reason: str = ""
) -> bool:
    """Accept or refuse a pending command; False if that was done before."""
    changed = connection.execute(
        update(commands)
        .where(commands.c.id == command_id, commands.c.state == "pending")
        .values(state=state, reason=reason, settled_at=now)
    )
    return changed.rowcount > 0


def refuse_pending(connection: Connection, attempt_id: str, now: float, reason: str) -> tuple[Command, ...]:
    """Refuse whatever the attempt has not accepted, and return it."""
    left = pending(connection, attempt_id)
    for command in left:
        settle(connection, command.id, "refused", now, reason)
    return left


def pending(
    connection: Connection, attempt_id: str, kinds: Collection[CommandKind] = ()
) -> tuple[Command, ...]:
    """Return the attempt's pending commands, oldest first; of `kinds` only if any are given."""
    query = select(commands).where(commands.c.attempt_id == attempt_id, commands.c.state == "pending")
    if kinds:
        query = query.where(commands.c.kind.in_(kinds))
    return tuple(_command(row) for row in connection.execute(query.order_by(commands.c.number)))


def of_attempt(connection: Connection, attempt_id: str) -> tuple[Command, ...]:
    """Return everything that was said to the attempt, oldest first."""
    return of_attempts(connection, (attempt_id,))


def of_attempts(connection: Connection, attempt_ids: Collection[str]) -> tuple[Command, ...]:
    """Return everything that was said to several attempts, by attempt and number."""
    query = select(commands).where(commands.c.attempt_id.in_(attempt_ids))
    query = query.order_by(commands.c.attempt_id, commands.c.number)
    return tuple(_command(row) for row in connection.execute(query))


def pending_for(connection: Connection, owner: str, kinds: Collection[CommandKind]) -> tuple[Command, ...]:
    """Return the pending commands of `kinds` to attempts that `owner` holds, oldest first."""
    query = (
        select(commands)
        .join(jobs, jobs.c.attempt_id == commands.c.attempt_id)
        .where(
            commands.c.state == "pending",
            commands.c.kind.in_(kinds),
            jobs.c.state == "running",
            jobs.c.owner == owner,
        )
    )
    return tuple(_command(row) for row in connection.execute(query.order_by(commands.c.number)))


_FIELDS = tuple(name for name in Command.__struct_fields__ if name in commands.c)


def _command(row: Row[Any]) -> Command:
    return Command(**{name: getattr(row, name) for name in _FIELDS})
