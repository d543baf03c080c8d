"""Opening, migrating, transactions that share a commit, several processes on one file."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from overnight.domain.errors import ConflictError, OvernightError
from overnight.store import repositories, schema
from overnight.store.database import Database, migrate

pytestmark = pytest.mark.anyio


def described(connection: Connection) -> dict[str, object]:
    """Return tables, columns, keys and indexes as plain values."""
    found = inspect(connection)
    return {
        table: (
            [
                (c["name"], str(c["type"]), c["nullable"], c.get("primary_key"))
                for c in found.get_columns(table)
            ],
            sorted(
                (tuple(k["constrained_columns"]), k["referred_table"], tuple(k["referred_columns"]))
                for k in found.get_foreign_keys(table)
            ),
            sorted(
                (str(i["name"]), tuple(i["column_names"]), bool(i["unique"]))
                for i in found.get_indexes(table)
            ),
            sorted(tuple(u["column_names"]) for u in found.get_unique_constraints(table)),
        )
        for table in sorted(found.get_table_names())
    }


def pairs(connection: Connection, table: str) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in connection.execute(text(f"SELECT before, after FROM {table}"))}


async def test_migrations_and_tables_agree(database: Database, tmp_path: Path) -> None:
    migrated = await Database.open(tmp_path / "migrated.db")
    dropped = (
        "secrets",
        "commands",
        "chunks",
        "heads",
        "pull_requests",
        "jobs",
        "turns",
        "attempts",
        "tasks",
        "repositories",
    )

    def from_nothing(connection: Connection) -> None:
        for table in (*dropped, "task_transitions", "turn_transitions", "alembic_version"):
            connection.execute(text(f"DROP TABLE {table}"))
        migrate(connection)

    await migrated.tx(from_nothing)
    fresh = await database.read(described)
    assert await migrated.read(described) == fresh
    assert {"tasks", "turns", "jobs", "chunks"} <= set(fresh)
    for table in ("task_transitions", "turn_transitions"):
        rows = await database.read(lambda c, table=table: pairs(c, table))
        assert rows == await migrated.read(lambda c, table=table: pairs(c, table))
    version = text("SELECT version_num FROM alembic_version")
    assert await migrated.read(lambda c: c.execute(version).scalar()) == schema.HEAD
    await migrated.close()


async def test_reopening_needs_no_alembic(database: Database) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from overnight.store.database import Database\n"
        "async def main():\n"
        "    await (await Database.open(pathlib.Path(sys.argv[1]))).close()\n"
        "asyncio.run(main())\n"
        "sys.exit('alembic' in sys.modules)\n"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(database.path)])
    assert done.returncode == 0


async def test_a_newer_database_gives_a_clear_error(path: Path) -> None:
    await (await Database.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(OvernightError, match="newer version of Overnight") as caught:
        await Database.open(path)
    assert "Update" in caught.value.hint


async def test_a_file_that_is_no_database_gives_a_clear_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and long enough to be sure of it" * 100)
    with pytest.raises(OvernightError, match="cannot be used"):
        await Database.open(path)


async def test_the_file_is_private(database: Database) -> None:
    assert database.path.stat().st_mode & 0o077 == 0


async def test_settings_hold_on_both_connections(database: Database) -> None:
    def settings(connection: Connection) -> tuple[object, ...]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return tuple(connection.execute(text(f"PRAGMA {name}")).scalar() for name in names)

    assert await database.read(settings) == ("wal", 2, 1)
    assert await database.tx(settings) == ("wal", 2, 1)


async def test_one_failure_does_not_lose_the_others(database: Database) -> None:
    def work(connection: Connection, number: int) -> int:
        repositories.ensure(connection, f"/{number}", 1.0)
        if number % 3 == 0:
            raise ConflictError(f"no {number}")
        return number

    outcomes = await asyncio.gather(
        *(database.tx(lambda c, number=number: work(c, number)) for number in range(30)),
        return_exceptions=True,
    )
    for number, outcome in enumerate(outcomes):
        if number % 3 == 0:
            assert isinstance(outcome, ConflictError)
            assert outcome.message == f"no {number}"
        else:
            assert outcome == number
    kept = {one.origin for one in await database.read(repositories.every)}
    assert kept == {f"/{number}" for number in range(30) if number % 3}


async def test_a_canceled_waiter_harms_nobody(database: Database) -> None:
    waiting = asyncio.create_task(database.tx(lambda c: repositories.ensure(c, "/a", 1.0)))
    await asyncio.sleep(0)
    waiting.cancel()
    await database.tx(lambda c: repositories.ensure(c, "/b", 1.0))
    assert [one.origin for one in await database.read(repositories.every)] == ["/a", "/b"]


async def test_closing_finishes_what_is_queued(path: Path) -> None:
    database = await Database.open(path)
    queued = [
        asyncio.create_task(database.tx(lambda c, n=n: repositories.ensure(c, f"/{n}", 1.0)))
        for n in range(50)
    ]
    await asyncio.sleep(0)
    await database.close()
    assert len(await asyncio.gather(*queued)) == 50
    with pytest.raises(ConflictError, match="closed"):
        await database.tx(repositories.every)


async def test_a_transaction_waits_for_another_process(database: Database) -> None:
    # A second connection holds the write lock as another process would.
    other = sqlite3.connect(database.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(database.tx(lambda c: repositories.ensure(c, "/late", 1.0)))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    other.execute("COMMIT")
    assert (await waiting).origin == "/late"
    other.close()


OPENER = """
import asyncio, pathlib, sys
from overnight.store.database import Database
from overnight.store import repositories
async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    database = await Database.open(pathlib.Path(sys.argv[1]))
    await database.tx(lambda c: repositories.ensure(c, "/same", 1.0))
    await database.close()
asyncio.run(main())
"""


def test_processes_may_open_a_new_directory_at_once(path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        _, complaints = child.communicate(timeout=180)
        assert child.returncode == 0, complaints
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM repositories").fetchone() == (1,)
    connection.close()
