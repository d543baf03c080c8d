"""Commands: each settled once, in order, and the wish to cancel of an older database among them."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from overnight.domain.commands import STOPS
from overnight.domain.task import Attempt
from overnight.store import attempts, commands, jobs, tasks
from overnight.store.database import Database, migrate
from tests.store.rows import a_task, an_attempt

pytestmark = pytest.mark.anyio


async def test_a_command_is_settled_once(database: Database) -> None:
    attempt = await database.tx(lambda c: an_attempt(c, a_task(c)))
    first = await database.tx(lambda c: commands.insert_one(c, attempt.id, "steer", 5.0, "left"))
    second = await database.tx(lambda c: commands.insert_one(c, attempt.id, "pause", 6.0))
    assert (first.number, second.number, first.turn, first.state) == (1, 2, 1, "pending")
    assert await database.read(lambda c: commands.pending(c, attempt.id)) == (first, second)
    assert await database.read(lambda c: commands.pending(c, attempt.id, STOPS)) == (second,)
    outcomes = await asyncio.gather(
        *(database.tx(lambda c: commands.settle(c, first.id, "accepted", 7.0)) for _ in range(5)),
        database.tx(lambda c: commands.settle(c, first.id, "refused", 8.0, "too late")),
    )
    assert outcomes.count(True) == 1
    (kept, _) = await database.read(lambda c: commands.of_attempt(c, attempt.id))
    assert (kept.state, kept.settled_at, kept.reason) == ("accepted", 7.0, "")
    assert await database.tx(lambda c: commands.refuse_pending(c, attempt.id, 9.0, "over")) == (second,)
    assert await database.read(lambda c: commands.pending(c, attempt.id)) == ()


async def test_a_worker_sees_the_commands_to_what_it_holds(database: Database) -> None:
    def rows(connection: Connection) -> tuple[Attempt, Attempt]:
        task = a_task(connection)
        return an_attempt(connection, task, 1), an_attempt(connection, task, 2)

    mine, _ = await database.tx(rows)

    def claim(connection: Connection, owner: str) -> object:
        return jobs.claim(connection, owner=owner, now=10.0, lease_seconds=10.0, capacity=9)

    for owner in ("h:1:s", "h:2:s"):
        assert await database.tx(lambda c, owner=owner: claim(c, owner))
    said = await database.tx(lambda c: commands.insert_one(c, mine.id, "cancel", 11.0))
    await database.tx(lambda c: commands.insert_one(c, mine.id, "steer", 11.0, "no stop"))
    assert await database.read(lambda c: commands.pending_for(c, "h:1:s", STOPS)) == (said,)
    assert await database.read(lambda c: commands.pending_for(c, "h:2:s", STOPS)) == ()


async def test_turns_are_kept(database: Database) -> None:
    attempt = await database.tx(lambda c: an_attempt(c, a_task(c), queue=False))
    await database.tx(lambda c: attempts.advance(c, attempt.id, "queued", "canceled", 3.0, message="Stop."))
    begun = await database.tx(
        lambda c: attempts.begin_turn(c, attempts.get(c, attempt.id), "Go on", "d" * 40, 4.0)
    )
    assert (begun.turn, begun.state, begun.prompt, begun.base_commit) == (2, "queued", "Go on", "d" * 40)
    assert (begun.message, begun.ended_at, begun.turn_created_at) == ("", None, 4.0)
    first, second = (await database.read(lambda c: attempts.turns_of(c, (attempt.id,))))[attempt.id]
    assert (first.state, first.message, first.ended_at) == ("canceled", "Stop.", 3.0)
    assert (second.number, second.prompt) == (2, "Go on")
    await database.tx(lambda c: tasks.remove(c, attempt.task_id))
    assert await database.read(lambda c: attempts.turns_of(c, (attempt.id,))) == {}


OLD = """
INSERT INTO repositories VALUES ('r', '/repo', 1.0);
INSERT INTO tasks (id, repository_id, prompt, base_ref, base_commit, previous_state, state, checks, verify,
  allow_test_changes, sandbox, limits, created_at) VALUES
  ('t', 'r', 'Fix', 'main', 'c', 'new', 'open', '[]', 1, 0, 'auto', '{}', 1.0);
INSERT INTO attempts (id, task_id, number, agent, model, turn, usage, seconds, created_at) VALUES
  ('a', 't', 1, 'loop', 'm', 1, '{}', '{}', 1.0), ('b', 't', 2, 'loop', 'm', 1, '{}', '{}', 1.0);
INSERT INTO turns (attempt_id, number, previous_state, state, message, cancel_requested, created_at) VALUES
  ('a', 1, 'preparing', 'working', '', 1, 1.0), ('b', 1, 'verifying', 'succeeded', 'Done.', 1, 1.0);
"""


async def test_an_older_data_directory_is_brought_up_to_date(path: Path) -> None:
    path.parent.mkdir()
    engine = create_engine(f"sqlite+pysqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, "0003")
        for statement in OLD.split(";"):
            if statement.strip():
                connection.execute(text(statement))
    engine.dispose()
    database = await Database.open(path)
    found = {one.id: one for one in await database.read(lambda c: attempts.of_task(c, "t"))}
    assert (found["a"].state, found["a"].turn, found["a"].forked_from, found["a"].limits) == (
        "working", 1, None, None,
    )  # fmt: skip
    assert (found["b"].state, found["b"].message, found["b"].prompt) == ("succeeded", "Done.", "")
    (wish,) = await database.read(lambda c: commands.pending(c, "a"))
    assert wish.kind == "cancel"
    assert await database.read(lambda c: commands.of_attempt(c, "b")) == ()
    # The new rows of the state table are there too.
    await database.tx(lambda c: attempts.advance(c, "a", "working", "paused", 2.0))
    await database.close()
