"""Attempts: every pair of states, lookups by prefix, what is recorded."""

import itertools
from typing import get_args

import pytest
from sqlalchemy import Connection, text, update
from sqlalchemy.exc import IntegrityError

from overnight.domain.errors import ConflictError, NotFoundError, UsageError
from overnight.domain.ids import new_id
from overnight.domain.states import TURN_ENDED, TURN_TRANSITIONS, TurnState
from overnight.domain.task import Attempt, PatchStats, Seconds, Usage
from overnight.domain.verdict import CheckVerdict, Verdict
from overnight.store import attempts, schema
from overnight.store.database import Database
from tests.store.rows import a_task, an_attempt

pytestmark = pytest.mark.anyio

STATES: tuple[TurnState, ...] = get_args(TurnState)
VERDICT = Verdict(
    finding="verified",
    reason="It holds.",
    checks=(CheckVerdict(command="pytest", before="red", after="green", seconds=1.5, evidence="per_test"),),
)


def force(connection: Connection, attempt_id: str, state: str) -> None:
    """Put an attempt into a state by a way that the table of transitions knows."""
    before = (
        next(pair[0] for pair in sorted(TURN_TRANSITIONS) if pair[1] == state) if state != "queued" else "new"
    )
    connection.execute(
        update(schema.turns)
        .where(schema.turns.c.attempt_id == attempt_id)
        .values(previous_state=before, state=state)
    )


async def test_every_pair_of_states(database: Database) -> None:
    async def tried(before: TurnState, after: TurnState) -> bool:
        def work(connection: Connection) -> bool:
            attempt = an_attempt(connection, a_task(connection))
            force(connection, attempt.id, before)
            try:
                attempts.advance(connection, attempt.id, before, after, 5.0)
            except ConflictError:
                assert attempts.get(connection, attempt.id).state == before
                return False
            stored = attempts.get(connection, attempt.id)
            assert stored.state == after
            assert stored.ended_at == (5.0 if after in TURN_ENDED else None)
            return True

        return await database.tx(work)

    for before, after in itertools.product(STATES, STATES):
        assert await tried(before, after) == ((before, after) in TURN_TRANSITIONS), (before, after)


async def test_the_database_itself_refuses_a_forbidden_change(database: Database) -> None:
    attempt = await database.tx(lambda c: an_attempt(c, a_task(c)))
    forbidden = text("UPDATE turns SET previous_state = state, state = 'succeeded' WHERE attempt_id = :id")
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        await database.tx(lambda c: c.execute(forbidden, {"id": attempt.id}))
    assert (await database.read(lambda c: attempts.get(c, attempt.id))).state == "queued"


async def test_an_attempt_is_born_queued(database: Database) -> None:
    def work(connection: Connection) -> None:
        task = a_task(connection)
        attempts.insert_one(
            connection,
            Attempt(
                id=new_id(),
                task_id=task.id,
                number=1,
                agent="a",
                model="m",
                state="succeeded",
                created_at=1.0,
            ),
        )

    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        await database.tx(work)


async def test_advance_compares_the_state_before(database: Database) -> None:
    attempt = await database.tx(lambda c: an_attempt(c, a_task(c)))
    await database.tx(lambda c: attempts.advance(c, attempt.id, "queued", "preparing", 2.0))
    with pytest.raises(ConflictError, match="is preparing, not queued"):
        await database.tx(lambda c: attempts.advance(c, attempt.id, "queued", "canceled", 3.0))


async def test_what_is_recorded_comes_back(database: Database) -> None:
    patch = PatchStats(commit="d" * 40, branch="overnight/x-1", digest="e" * 64, files=("a.py",), added=3)
    usage = Usage(model_calls=2, input_tokens=100, output_tokens=7, cost_usd=0.25)

    def work(connection: Connection) -> Attempt:
        attempt = an_attempt(connection, a_task(connection))
        attempts.record(connection, attempt.id, patch=patch, usage=usage)
        attempts.record(connection, attempt.id, verdict=VERDICT, seconds=Seconds(work=2.5), message="done")
        return attempts.get(connection, attempt.id)

    stored = await database.tx(work)
    assert (stored.patch, stored.verdict, stored.usage) == (patch, VERDICT, usage)
    assert (stored.seconds, stored.message) == (Seconds(work=2.5), "done")


async def test_a_prefix_finds_one_attempt(database: Database) -> None:
    def work(connection: Connection) -> None:
        task = a_task(connection)
        for number, identifier in enumerate(("abcd" + "0" * 28, "abcd" + "1" * 28, "f" * 32), start=1):
            attempts.insert_one(
                connection,
                Attempt(
                    id=identifier, task_id=task.id, number=number, agent="a", model="m", state="queued",
                    created_at=1.0,
                ),
            )  # fmt: skip

    await database.tx(work)
    assert (await database.read(lambda c: attempts.find(c, "ABCD1"))).number == 2
    assert (await database.read(lambda c: attempts.find(c, "ffff"))).number == 3
    with pytest.raises(UsageError, match="more than one attempt"):
        await database.read(lambda c: attempts.find(c, "abcd"))
    with pytest.raises(UsageError, match="too short"):
        await database.read(lambda c: attempts.find(c, "abc"))
    for unknown in ("dead", "%%%%", "", "a' OR 1=1 --"):
        with pytest.raises(NotFoundError):
            await database.read(lambda c, unknown=unknown: attempts.find(c, unknown))


async def test_of_task_is_in_order(database: Database) -> None:
    def work(connection: Connection) -> str:
        task = a_task(connection)
        for number in (3, 1, 2):
            an_attempt(connection, task, number)
        return task.id

    task_id = await database.tx(work)
    assert [one.number for one in await database.read(lambda c: attempts.of_task(c, task_id))] == [1, 2, 3]
