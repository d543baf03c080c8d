"""People and workers in any order, on real tables: nothing said is lost or taken twice; what ended stays."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import Connection

from overnight.domain.errors import ConflictError, NotFoundError, StaleLeaseError, UsageError
from overnight.domain.events import CommandAccepted, Event, StepEnded
from overnight.domain.ports import SystemClock
from overnight.domain.states import TURN_ENDED, TURN_WAITING, TurnState
from overnight.domain.task import Attempt
from overnight.events.log import EventLog, append_last
from overnight.store import attempts, commands, jobs, tasks
from overnight.store.database import Database
from overnight.store.jobs import Job
from overnight.tasks.cancel import cancel, refuse_rest, settle
from overnight.tasks.fork import Fork, fork
from overnight.tasks.pause import pause
from overnight.tasks.resume import resume
from overnight.tasks.words import answer, follow_up, steer
from tests.store.rows import a_task, an_attempt

T = TypeVar("T")
OWNERS = ("h:1:s", "h:2:s")
NEXT: dict[TurnState, TurnState] = {"queued": "preparing", "preparing": "working", "working": "verifying"}
LATER: dict[TurnState, TurnState] = {"needs_input": "preparing", "paused": "preparing"}


LASTS = st.sampled_from(["step", "step", "needs_input", "paused", "failed", "stop"])


class House(RuleBasedStateMachine):
    """One task, the people who talk to its attempts, and two workers of which each may die at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="overnight-machine-"))
        self.database = self.do(Database.open(self.folder / "overnight.db"))
        self.log = EventLog(self.database, SystemClock())
        self.now = 1.0
        self.jobs: list[Job] = []
        """All that were ever claimed, those of the dead too."""
        self.ended: dict[tuple[str, int], object] = {}
        self.settled: dict[str, object] = {}

        def rows(connection: Connection) -> str:
            task = a_task(connection)
            for number in (1, 2):
                an_attempt(connection, task, number)
            return task.id

        self.task = self.tx(rows)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def tx(self, work: Callable[[Connection], T]) -> T:
        return self.do(self.database.tx(work))

    def person(self, work: Coroutine[Any, Any, object]) -> None:
        """A person's command does what it says, or says why not."""
        self.now += 1.0
        with suppress(ConflictError, UsageError, NotFoundError):
            self.do(work)

    def attempt(self, number: int) -> Attempt:
        found = self.tx(lambda c: attempts.of_task(c, self.task))
        return found[number % len(found)]

    @rule(number=st.integers(0, 5), words=st.sampled_from(["left", " "]))
    def steers(self, number: int, words: str) -> None:
        self.person(steer(self.database, self.attempt(number).id, words, self.now))

    @rule(number=st.integers(0, 5))
    def answers(self, number: int) -> None:
        self.person(answer(self.database, self.attempt(number).id, "green", self.now))

    @rule(number=st.integers(0, 5))
    def pauses(self, number: int) -> None:
        self.person(pause(self.database, self.task, self.attempt(number).id, self.now, lambda _: True))

    @rule(number=st.integers(0, 5))
    def resumes(self, number: int) -> None:
        self.person(resume(self.database, self.task, self.now, lambda _: True, self.attempt(number).id))

    @rule(number=st.integers(0, 5))
    def cancels(self, number: int) -> None:
        self.person(cancel(self.database, self.task, self.attempt(number).id, self.now, lambda _: True))

    @rule(number=st.integers(0, 5))
    def follows_up(self, number: int) -> None:
        self.person(follow_up(self.database, self.attempt(number).id, "More.", self.now))

    @rule(number=st.integers(0, 5), step=st.integers(0, 2), replaces=st.booleans())
    def forks(self, number: int, step: int, replaces: bool) -> None:
        wanted = Fork(origin=self.attempt(number).id, step=step, message="Apart.", replaces=replaces)
        self.person(fork(self.database, self.log, wanted, self.now, lambda _: True))

    @rule(owner=st.sampled_from(OWNERS), count=st.integers(0, 6), last=LASTS)
    def carries_out(self, owner: str, count: int, last: str) -> None:
        """A worker claims a job and goes some way with it."""

        def work(connection: Connection) -> Job | None:
            return jobs.claim(connection, owner=owner, now=self.now, lease_seconds=1e6, capacity=9)

        job = self.tx(work)
        if job is None:
            return
        self.jobs.append(job)
        for _ in range(count):
            self.works(len(self.jobs) - 1, last)

    @rule(owner=st.sampled_from(OWNERS))
    def dies(self, owner: str) -> None:
        self.tx(lambda c: jobs.expire_owner(c, owner))

    @precondition(lambda self: self.jobs)
    @rule(index=st.integers(0, 9), last=LASTS)
    def works(self, index: int, last: str) -> None:
        """A worker, or one that was thought dead, takes its next step: all of it, or none."""
        job = self.jobs[index % len(self.jobs)]
        try:
            self.tx(lambda c: _advance(c, job, last, self.now))
        except StaleLeaseError:
            return

    @invariant()
    def all_is_well(self) -> None:
        self.tx(lambda c: _check(c, self.task, self.ended, self.settled))

    def teardown(self) -> None:
        self.do(self.database.close())
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _advance(connection: Connection, job: Job, last: str, now: float) -> None:
    """What the worker package does to the tables, one transaction of it."""
    jobs.check(connection, job)
    attempt = attempts.get(connection, job.attempt_id)
    state = attempt.state
    events: list[Event] = []
    if state in TURN_ENDED:
        jobs.finish(connection, job)
        return
    stop = commands.pending(connection, attempt.id, ("cancel", "pause"))
    if last == "stop" and stop and (stop[0].kind == "cancel" or state in ("preparing", "working")):
        commands.settle(connection, stop[0].id, "accepted", now)
        events.append(CommandAccepted(command_id=stop[0].id, kind=stop[0].kind))
        if stop[0].kind == "pause":
            attempts.advance(connection, attempt.id, state, "paused", now)
            jobs.park(connection, job)
        else:
            _end(connection, job, attempt, "canceled", now, events)
    elif state == "working" and last in ("needs_input", "paused"):
        attempts.advance(connection, attempt.id, state, last, now)
        jobs.park(connection, job)
    elif state in ("verifying", "working") and last == "failed":
        _end(connection, job, attempt, "failed", now, events)
    elif state == "verifying":
        _end(connection, job, attempt, "succeeded", now, events)
    else:
        for command in commands.pending(connection, attempt.id, ("message", "steer", "answer", "resume")):
            commands.settle(connection, command.id, "accepted", now)
            events.append(CommandAccepted(command_id=command.id, kind=command.kind))
        if state == "working":
            events.append(StepEnded(step=attempt.fork_step + attempt.turn))
        attempts.advance(connection, attempt.id, state, LATER.get(state) or NEXT[state], now)
    for event in events:
        append_last(connection, attempt.id, job.epoch, event, now)


def _end(
    connection: Connection, job: Job, attempt: Attempt, state: TurnState, now: float, events: list[Event]
) -> None:
    attempts.advance(connection, attempt.id, attempt.state, state, now)
    events += refuse_rest(connection, attempt.id, now)
    settle(connection, job.task_id)


def _check(
    connection: Connection, task_id: str, ended: dict[tuple[str, int], object], settled: dict[str, object]
) -> None:
    every = attempts.of_task(connection, task_id)
    state = tasks.get(connection, task_id).state
    assert (state == "open") == any(one.state not in TURN_ENDED for one in every)
    for attempt in every:
        job = jobs.open_of(connection, attempt.id)
        if attempt.state not in TURN_ENDED:
            assert job is not None, "whoever has not ended can go on"
            assert job.state != "waiting" or attempt.state in TURN_WAITING
        else:
            assert commands.pending(connection, attempt.id) == ()
        for turn in attempts.turns_of(connection, (attempt.id,))[attempt.id]:
            if turn.state in TURN_ENDED:
                assert ended.setdefault((attempt.id, turn.number), turn) == turn
            else:
                assert turn.number == attempt.turn, "only the last turn goes on"
        said = commands.of_attempt(connection, attempt.id)
        assert [one.number for one in said] == list(range(1, len(said) + 1))
        for command in said:
            if command.state != "pending":
                assert settled.setdefault(command.id, command) == command


TestHouse = House.TestCase
TestHouse.settings = settings(max_examples=20, stateful_step_count=30, deadline=None, derandomize=True)
