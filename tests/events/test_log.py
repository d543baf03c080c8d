"""The log: nothing lost, no gaps, one writer at a time, readers in this process and in others."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from overnight.domain.conversation import Message
from overnight.domain.errors import StaleLeaseError
from overnight.domain.events import (
    AttemptEnded,
    AttemptWaiting,
    CommandOutput,
    Event,
    MessageAdded,
    MessageDelta,
    Noted,
    PullRequestOpened,
    Recorded,
)
from overnight.domain.ids import new_id
from overnight.domain.ports import EventSink, SystemClock
from overnight.events.log import EventLog, LogWriter
from overnight.store import repositories, schema
from overnight.store.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database, SystemClock())


async def everything(log: EventLog, attempt: str, after: int = 0) -> list[Recorded]:
    return [recorded async for recorded in log.read(attempt, after)]


def texts(events: list[Recorded]) -> list[str]:
    return [one.event.text for one in events if isinstance(one.event, Noted)]


async def test_after_the_turn_deltas_are_empty_and_numbers_stay(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    message = Message(role="assistant", text="word " * 600)
    for _ in range(600):
        writer.emit(MessageDelta(step=1, text="word "))
    writer.emit(MessageAdded(step=1, message=message))
    await writer.close()
    before, size = await everything(log, attempt), await log.size(attempt)
    await log.compact(attempt)
    after = await everything(log, attempt)
    assert [(one.seq, one.at) for one in after] == [(one.seq, one.at) for one in before]
    assert {one.event.text for one in after if isinstance(one.event, MessageDelta)} == {""}
    assert after[-1].event == MessageAdded(step=1, message=message)
    assert await log.size(attempt) < size
    size = await log.size(attempt)
    await log.compact(attempt)
    assert await log.size(attempt) == size


async def test_what_is_emitted_is_read(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    sink: EventSink = writer
    for number in range(1700):
        sink.emit(Noted(text=str(number)))
    await sink.flush()
    events = await everything(log, attempt)
    assert [one.seq for one in events] == list(range(1, 1701))
    assert texts(events) == [str(number) for number in range(1700)]
    assert [one.seq for one in await everything(log, attempt, after=1234)] == list(range(1235, 1701))
    assert await everything(log, attempt, after=1700) == []
    assert await log.last(attempt) == events[-1]
    assert await log.last_seq(attempt) == 1700
    assert [one.at for one in events] == sorted(one.at for one in events)
    assert await log.size(attempt) == await log.size() > 0


async def test_events_are_stored_without_a_flush(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    following = log.follow(attempt)
    writer.emit(Noted(text="soon"))
    async with asyncio.timeout(120):
        assert (await anext(following)).event == Noted(text="soon")


async def test_a_large_event_ends_its_chunk(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    for _ in range(3):
        writer.emit(CommandOutput(command_id="c", stream="stdout", text="x" * 5_000_000))
    await writer.close()
    assert [one.seq for one in await everything(log, attempt)] == [1, 2, 3]


async def test_an_empty_log(log: EventLog) -> None:
    assert await log.last("none") is None
    assert await log.last_seq("none") == 0
    assert await everything(log, "none") == []


async def test_an_older_epoch_is_refused(log: EventLog) -> None:
    attempt = new_id()
    old = await log.writer(attempt, 1)
    old.emit(Noted(text="1"))
    await old.flush()
    old.emit(Noted(text="never stored"))
    new = await log.writer(attempt, 2)
    with pytest.raises(StaleLeaseError):
        await old.flush()
    old.emit(Noted(text="nor this"))
    with pytest.raises(StaleLeaseError):
        await old.flush()
    await old.close()
    new.emit(Noted(text="2"))
    await new.close()
    with pytest.raises(StaleLeaseError):
        await log.writer(attempt, 1)
    events = await everything(log, attempt)
    assert [(one.seq, one.event) for one in events] == [(1, Noted(text="1")), (2, Noted(text="2"))]


async def test_two_writers_of_one_epoch_cannot_mix(log: EventLog) -> None:
    attempt = new_id()
    first, second = await log.writer(attempt, 1), await log.writer(attempt, 1)
    first.emit(Noted(text="first"))
    await first.flush()
    second.emit(Noted(text="second"))
    with pytest.raises(StaleLeaseError):
        await second.flush()
    assert texts(await everything(log, attempt)) == ["first"]


async def test_flush_may_be_given_up(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    writer.emit(Noted(text="kept"))
    waiting = asyncio.create_task(writer.flush())
    await asyncio.sleep(0)
    waiting.cancel()
    await writer.close()
    assert texts(await everything(log, attempt)) == ["kept"]


async def test_delete(log: EventLog) -> None:
    attempt, other = new_id(), new_id()
    for one in (attempt, other):
        writer = await log.writer(one, 3)
        writer.emit(Noted(text=one))
        await writer.close()
    await log.delete(attempt)
    assert await everything(log, attempt) == []
    assert texts(await everything(log, other)) == [other]


async def emitted(writer: LogWriter, *events: Event) -> None:
    for event in events:
        writer.emit(event)
    await writer.flush()


async def test_follow_reads_then_waits_then_ends(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    await emitted(writer, Noted(text="before"))
    following: AsyncIterator[Recorded] = log.follow(attempt)
    async with asyncio.timeout(120):
        assert (await anext(following)).event == Noted(text="before")
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        await emitted(writer, Noted(text="live"))
        assert (await waiting).event == Noted(text="live")
        await emitted(writer, AttemptEnded(state="succeeded"))
        assert [one.event async for one in following] == [AttemptEnded(state="succeeded")]


async def test_follow_goes_on_over_an_earlier_end(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    await emitted(writer, AttemptEnded(state="failed"), Noted(text="taken up again"))
    following = log.follow(attempt)
    async with asyncio.timeout(120):
        assert [(await anext(following)).seq for _ in range(2)] == [1, 2]
        await emitted(writer, AttemptEnded(state="succeeded"))
        assert [one.seq async for one in following] == [3]
        assert [one.seq async for one in log.follow(attempt, after=3)] == []
        assert [one.seq async for one in log.follow(attempt, after=1)] == [2, 3]


async def test_follow_stops_when_told_and_misses_nothing(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)

    async def stop() -> bool:
        # Written in the very moment in which it is decided to stop.
        await emitted(writer, Noted(text="last"))
        return True

    async with asyncio.timeout(120):
        events = [one async for one in log.follow(attempt, stop=stop)]
    assert "last" in texts(events)


async def test_an_unknown_event_is_a_note(log: EventLog, database: Database) -> None:
    import msgspec
    import zstandard

    attempt = new_id()
    plain = msgspec.msgpack.encode(
        [
            {"seq": 1, "at": 1.0, "event": {"type": "note", "text": "known", "colour": "of a newer version"}},
            {"seq": 2, "at": 2.0, "event": {"type": "dream.dreamt", "depth": 3}, "more": True},
            {"seq": 3, "at": 3.0, "event": {"type": "attempt.ended", "state": "succeeded"}},
        ]
    )
    row = {"attempt_id": attempt, "first_seq": 1, "last_seq": 3, "epoch": 1, "at": 3.0}
    await database.tx(
        lambda c: c.execute(insert(schema.chunks).values(data=zstandard.compress(plain), **row)) and None
    )
    known, unknown, ended = await everything(log, attempt)
    assert known.event == Noted(text="known")
    assert isinstance(unknown.event, Noted)
    assert "dream.dreamt" in unknown.event.text
    assert unknown.seq == 2
    assert ended.event == AttemptEnded(state="succeeded")
    assert await log.last(attempt) == ended


async def test_a_full_disk_is_told_on_flush(log: EventLog, database: Database) -> None:
    from sqlalchemy import text

    from overnight.domain.errors import OvernightError

    attempt = new_id()
    writer = await log.writer(attempt, 1)
    pages = await database.tx(lambda c: c.execute(text("PRAGMA page_count")).scalar_one())
    await database.tx(lambda c: c.execute(text(f"PRAGMA max_page_count = {pages}")).scalar())
    noise = "".join(new_id() for _ in range(20_000))
    writer.emit(Noted(text=noise))
    with pytest.raises(OvernightError, match=r"cannot be written.*full"):
        await writer.flush()
    await database.tx(lambda c: c.execute(text("PRAGMA max_page_count = 1000000")).scalar())
    assert await everything(log, attempt) == []
    # The database itself goes on.
    await database.tx(lambda c: c.execute(update(schema.heads).values(epoch=2)) and None)
    assert await log.last_seq(attempt) == 0


WRITER = """
import asyncio, pathlib, sys
from overnight.domain.events import Noted, AttemptEnded
from overnight.domain.ports import SystemClock
from overnight.events.log import EventLog
from overnight.store.database import Database
async def main():
    database = await Database.open(pathlib.Path(sys.argv[1]))
    writer = await EventLog(database, SystemClock()).writer(sys.argv[2], int(sys.argv[3]))
    count = int(sys.argv[4])
    while count:
        for _ in range(7):
            writer.emit(Noted(text="x" * 50))
        count -= 1
        await writer.flush()
        print(writer.last_seq, flush=True)
    writer.emit(AttemptEnded(state="succeeded"))
    await writer.close()
    await database.close()
asyncio.run(main())
"""


async def spawn(path: Path, attempt: str, epoch: int, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), attempt, str(epoch), str(count), stdout=subprocess.PIPE
    )


async def test_a_killed_writer_loses_nothing_that_was_confirmed(log: EventLog, path: Path) -> None:
    attempt = new_id()
    confirmed = 0
    for epoch in (1, 2, 3):
        child = await spawn(path, attempt, epoch, -1)
        assert child.stdout is not None
        for _ in range(5):
            confirmed = json.loads(await child.stdout.readline())
        child.kill()
        rest = await child.stdout.read()
        await child.wait()
        whole = [line for line in rest.decode().split("\n")[:-1] if line]
        confirmed = int(whole[-1]) if whole else confirmed
        seqs = [one.seq for one in await everything(log, attempt)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) >= confirmed
        assert await log.last_seq(attempt) == len(seqs)
    writer = await log.writer(attempt, 4)
    await emitted(writer, Noted(text="after the kills"))
    seqs = [one.seq for one in await everything(log, attempt)]
    assert seqs == list(range(1, len(seqs) + 1))


async def test_follow_sees_another_process(log: EventLog, path: Path) -> None:
    attempt = new_id()
    async with asyncio.timeout(60):
        collecting = asyncio.create_task(collect(log, attempt))
        child = await spawn(path, attempt, 1, 20)
        events = await collecting
        await child.communicate()
    assert [one.seq for one in events] == list(range(1, 20 * 7 + 2))


async def collect(log: EventLog, attempt: str) -> list[Recorded]:
    return [one async for one in log.follow(attempt)]


async def test_a_later_event_behind_the_end_is_read(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    opened = PullRequestOpened(number=1, forge="local", branch="b", title="t")
    await emitted(writer, opened, AttemptEnded(state="succeeded"))
    async with asyncio.timeout(120):
        assert [one.event for one in await collect(log, attempt)] == [opened, AttemptEnded(state="succeeded")]


async def test_an_event_and_what_comes_along_are_stored_together(log: EventLog, database: Database) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    for number in range(1200):
        writer.emit(Noted(text=str(number)))
    writer.emit_with(Noted(text="along"), lambda c: repositories.ensure(c, "/along", 1.0))
    await writer.flush()
    assert [one.origin for one in await database.read(repositories.every)] == ["/along"]
    await log.writer(attempt, 2)
    writer.emit_with(Noted(text="lost"), lambda c: repositories.ensure(c, "/lost", 1.0))
    with pytest.raises(StaleLeaseError):
        await writer.flush()
    assert [one.origin for one in await database.read(repositories.every)] == ["/along"]


async def test_a_follower_of_what_goes_on_again(log: EventLog) -> None:
    attempt = new_id()
    writer = await log.writer(attempt, 1)
    writer.emit(Noted(text="one"))
    writer.emit(AttemptWaiting(state="paused"))
    await writer.flush()
    async with asyncio.timeout(120):
        assert [one.seq async for one in log.follow(attempt)] == [1, 2]
        assert [one.seq async for one in log.follow(attempt, after=2)] == []
        following = log.follow(attempt, after=2, awake=True)
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        writer.emit(AttemptEnded(state="succeeded"))
        await writer.flush()
        assert (await waiting).seq == 3
        with pytest.raises(StopAsyncIteration):
            await anext(following)
