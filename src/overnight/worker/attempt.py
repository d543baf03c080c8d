"""One attempt from its claim to its end: prepare, work, verify, conclude."""

import asyncio
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
from sqlalchemy import Connection

from overnight.agents.interface import Assignment, Outcome
from overnight.domain.commands import CommandKind
from overnight.domain.errors import OvernightError, StaleLeaseError
from overnight.domain.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptWaiting,
    LimitHit,
    NetworkBlocked,
    PhaseChanged,
    TurnStarted,
)
from overnight.domain.network import Blocked
from overnight.domain.ports import Redaction
from overnight.domain.states import TURN_ENDED, TurnState
from overnight.domain.task import Attempt, PatchStats, Seconds, Task, Usage
from overnight.domain.verdict import Verdict
from overnight.events.folds import refused
from overnight.events.log import LogWriter
from overnight.models.gateway.door import Door
from overnight.store import attempts, commands, jobs, repositories, tasks
from overnight.store.jobs import Job
from overnight.tasks.cancel import REASON as CANCELED
from overnight.tasks.vault import Opened
from overnight.worker.code import code_map
from overnight.worker.conclude import end_attempt
from overnight.worker.course import Course, read_course
from overnight.worker.discreet import DiscreetArtifacts, DiscreetModel
from overnight.worker.engine import Engine
from overnight.worker.harvest import harvest, keep_only, move_branch
from overnight.worker.mailbox import Mailbox, accept, settled
from overnight.worker.prepare import Prepared, open_secrets, prepare
from overnight.worker.pulse import Pulse
from overnight.worker.recording import RecordedModel, open_recorded
from overnight.worker.verdict import reach_verdict
from overnight.worker.waiting import Left, lay_down, pause, whole

GRACE_SECONDS = 60.0
"""What an agent may need beyond its time limit to come back by itself."""
CONTENT_FINDINGS = ("verified", "checks_hold", "unverified")
"""Findings with which a turn counts as succeeded: there is a patch a person can publish."""


def _redaction(opened: Opened | OvernightError) -> Redaction:
    """Return what takes the secrets out; where they do not open, nothing runs that could print one."""
    return (opened if isinstance(opened, Opened) else Opened()).redactor()


async def carry_out(engine: Engine, job: Job, stop: Callable[[], CommandKind | None]) -> Left:
    """Take an attempt from wherever its last holder left it to its end, or to where a person is needed.

    Cancelling this ends or pauses the attempt, as `stop()` says that a person wants it; where nobody does,
    it stays resumable.

    Returns how the job is left.

    Raises:
        StaleLeaseError: another worker took over; nothing more was written.
    """
    run = await whole(AttemptRun.open(engine, job), stop)
    try:
        wanted = stop()
        return await run.to_the_end() if wanted is None else await run.stop(wanted)
    except asyncio.CancelledError:
        kind = stop()
        if kind is None:
            raise
        return await run.stop(kind)
    except StaleLeaseError:
        raise
    except OvernightError as error:
        await run.fail(error.message, error.hint)
    except Exception as error:  # the attempt must end, whatever broke
        kept = run.keep_traceback(traceback.format_exc())
        await run.fail(f"Internal error: {type(error).__name__}: {error}", f"The traceback is in {kept}")
    finally:
        await run.close()
    return "ended"


class AttemptRun:
    """The state of one attempt while this process carries it out."""

    def __init__(
        self,
        engine: Engine,
        job: Job,
        task: Task,
        attempt: Attempt,
        opened: Opened | OvernightError,
        events: LogWriter,
        course: Course,
    ) -> None:
        self.engine = engine
        self.job = job
        self.task = task.seen_by(attempt)
        self.submitted = task
        self.attempt = attempt
        self.events = events
        self.opened = opened
        self.redaction = _redaction(opened)
        self.course = course
        self.prepared: Prepared | None = None
        self.door: Door | None = None
        self.seconds = attempt.seconds
        self.blocked = [event for event in course.log if isinstance(event, NetworkBlocked)]

    @classmethod
    async def open(cls, engine: Engine, job: Job) -> "AttemptRun":
        """Read what is known of the attempt and open its log under the job's epoch."""
        task, attempt = await engine.database.read(
            lambda conn: (tasks.get(conn, job.task_id), attempts.get(conn, job.attempt_id))
        )
        course = await read_course(engine, task, attempt)
        opened = await open_secrets(engine, task)
        # A redaction of its own: output that comes in pieces is held back in there.
        events = await engine.log.writer(attempt.id, job.epoch, _redaction(opened))
        return cls(engine, job, task, attempt, opened, events, course)

    async def to_the_end(self) -> Left:
        """Go through the phases that are not behind the attempt yet."""
        if self.attempt.state not in TURN_ENDED:
            self.events.emit(
                AttemptStarted(
                    agent=self.attempt.agent,
                    model=self.attempt.model,
                    prompt=self.attempt.prompt or self.task.prompt,
                    base_commit=self.task.base_commit,
                    epoch=self.job.epoch,
                    turn=self.attempt.turn,
                )
            )
            await self._accept_resume()
            if isinstance(self.opened, OvernightError):
                raise self.opened
            async with Pulse(self.events) as events:
                try:
                    verdict = await self._phases(events)
                finally:
                    self.blocked += events.blocked
            if isinstance(verdict, Outcome):
                await self._wait(verdict)
                return "waiting"
            state: TurnState = "succeeded" if verdict.finding in CONTENT_FINDINGS else "failed"
            await self.end(state)
        else:
            # A lost worker ended it and did not live to finish the job; the task may still be open.
            await self.end(self.attempt.state)
        return "ended"

    async def _phases(self, events: Pulse) -> Verdict | Outcome:
        """Return the verdict, or the outcome with which a person is waited for."""
        started = self.engine.clock.monotonic()
        # The patch is recorded before this state is reached, so that what came before need not be repeated.
        resumed_verifying = self.attempt.state == "verifying"
        if self.attempt.state == "queued":
            waited = max(0.0, self.engine.clock.time() - self.attempt.turn_created_at) + self.seconds.queued
            self.seconds = msgspec.structs.replace(self.seconds, queued=round(waited, 3))
        if not resumed_verifying and self.attempt.state != "preparing":
            await self._advance("preparing")
        events.emit(PhaseChanged(phase="preparing"))
        assert isinstance(self.opened, Opened)
        equipment = self.engine.agents[self.attempt.agent].equipment
        self.door = Door(self.attempt.model) if equipment.door else None
        self.prepared = await prepare(
            self.engine,
            self.task,
            self.attempt,
            events,
            self.course.checkpoint,
            self.course.base,
            self.opened,
            equipment,
            self.door,
        )
        self._time("prepare", started)
        if not self.course.begun:
            await self._begin_turn()
        if not resumed_verifying:
            outcome = await self._work(events)
            if outcome.question or outcome.reached:
                return outcome
            await self._advance("verifying", message=self.redaction.clean(outcome.summary))
        started = self.engine.clock.monotonic()
        events.emit(PhaseChanged(phase="verifying"))
        verdict = await reach_verdict(
            self.engine, self.task, self.attempt, self.prepared, events, self.redaction
        )
        await self._record(verdict=self.redaction.value(verdict))
        if verdict.protected_restored and self.attempt.patch is not None:
            # The branch must hold what was verified, not what the agent left.
            patch = await keep_only(
                self.engine, self.task, self.attempt, self.prepared, verdict, events, self.redaction,
                self.course.earlier,
            )  # fmt: skip
            await self._record(patch=patch)
        self._time("verify", started)
        await self._record(seconds=self.seconds)
        return verdict

    async def _work(self, events: Pulse) -> Outcome:
        assert self.prepared is not None
        started = self.engine.clock.monotonic()
        await self._advance("working")
        events.emit(PhaseChanged(phase="working", detail=f"{self.attempt.agent} with {self.attempt.model}"))
        silence = self.prepared.limits.model_silence_seconds
        model = await open_recorded(self.engine, self.attempt, events, silence)
        try:
            outcome = await self._until_nothing_is_left(events, model)
        finally:
            # Nothing of the agent runs on while its work is judged, and what it asked for is recorded.
            await self.prepared.serving.close()
            await self.prepared.sandbox.close()
        self._time("work", started)
        if outcome.question or outcome.reached:
            await self._record(usage=outcome.usage, seconds=self.seconds)
            return outcome
        patch = await harvest(
            self.engine, self.task, self.attempt, self.prepared, events, self.redaction, self.course.earlier
        )
        await self._record(patch=patch, usage=outcome.usage, seconds=self.seconds)
        return outcome

    async def _until_nothing_is_left(self, events: Pulse, model: RecordedModel) -> Outcome:
        """Let the agent work, and again where somebody said something while it handed back."""
        while True:
            inbox = Mailbox(self.engine, self.attempt.id, self.events, self.course.untold)
            outcome = await self._within_time(self._assignment(events, inbox, model), events)
            if outcome.question or outcome.reached or outcome.gave_up or await inbox.empty():
                return outcome
            await self.events.flush()
            self.course = await read_course(self.engine, self.submitted, self.attempt)

    def _assignment(self, events: Pulse, inbox: Mailbox, model: RecordedModel) -> Assignment:
        assert self.prepared is not None
        ground = self.prepared.ground
        return Assignment(
            prompt=self.task.prompt,
            checks=self.prepared.checks,
            protected=() if self.task.allow_test_changes else self.prepared.protected,
            model=DiscreetModel(model, self.redaction),
            workspace=self.prepared.workspace,
            sandbox=self.prepared.sandbox,
            events=events,
            artifacts=DiscreetArtifacts(self.engine.blobs, self.redaction),
            clock=self.engine.clock,
            limits=self.prepared.limits,
            network="" if self.task.network.closed else str(self.task.network),
            number=model.number,
            seed=model.seed,
            door=self.door,
            code=code_map(self.engine.data, ground.mirror, ground.snapshot.commit, self.prepared.limits),
            history=self.course.history,
            turn=self.attempt.turn,
            spent=self.course.spent,
            inbox=inbox,
        )

    async def _within_time(self, assignment: Assignment, events: Pulse) -> Outcome:
        agent = self.engine.agents[self.attempt.agent]
        bound = assignment.limits.attempt_seconds
        try:
            async with asyncio.timeout(bound + GRACE_SECONDS):
                return await agent.work(assignment)
        except TimeoutError:
            events.emit(LimitHit(limit="attempt_seconds", detail=f"{bound:.0f} s, stopped by the worker"))
            summary = f"Stopped at the limit attempt_seconds = {bound:g}"
            return Outcome(summary=summary, usage=events.usage, gave_up=True)

    async def _accept_resume(self) -> None:
        """Accept the words that let a paused attempt go on: by being claimed, it does."""
        attempt_id = self.attempt.id
        for command in await self.engine.database.read(
            lambda conn: commands.pending(conn, attempt_id, ("resume",))
        ):
            accept(self.engine, self.events, command)

    async def _begin_turn(self) -> None:
        """Record that the turn began: with it the person's message counts as accepted."""
        assert self.prepared is not None
        attempt_id, brought = self.attempt.id, self.prepared.brought
        (message,) = await self.engine.database.read(
            lambda conn: commands.pending(conn, attempt_id, ("message",))
        )
        event = TurnStarted(
            turn=self.attempt.turn,
            prompt=message.text,
            command_id=message.id,
            base_commit=self.task.base_commit,
            checkpoint=brought.checkpoint if brought is not None else None,
            conflicts=brought.conflicts if brought is not None else (),
            verdict=self.course.earlier.verdict,
        )
        self.events.emit_with(event, partial(settled, command_id=message.id, now=self.engine.clock.time()))
        await self.events.flush()
        self.course = await read_course(self.engine, self.submitted, self.attempt)

    async def _wait(self, outcome: Outcome) -> None:
        """Lay the attempt down until a person answers, or raises the limit."""
        limit = outcome.reached
        text = outcome.question or f"Reached the limit {limit} = {getattr(self.task.limits, limit, 0):g}."
        event = AttemptWaiting(
            state="needs_input" if outcome.question else "paused",
            question=outcome.question,
            choices=outcome.choices,
            limit=limit,
        )
        await lay_down(self.engine, self.job, self.events, event, self.redaction.clean(text))

    async def stop(self, kind: CommandKind) -> Left:
        """Do what a person wants of an attempt whose work was just cut off."""
        if kind == "pause":
            return await pause(self.engine, self.job, self.events)
        await self.end("canceled", CANCELED)
        return "ended"

    async def _advance(self, state: TurnState, message: str | None = None) -> None:
        before, attempt_id, now = self.attempt.state, self.attempt.id, self.engine.clock.time()

        def change(conn: Connection) -> Attempt:
            jobs.check(conn, self.job)
            attempts.advance(conn, attempt_id, before, state, now, message=message)
            return attempts.get(conn, attempt_id)

        self.attempt = await self.engine.database.tx(change)

    async def _record(
        self,
        *,
        patch: PatchStats | None = None,
        verdict: Verdict | None = None,
        usage: Usage | None = None,
        seconds: Seconds | None = None,
        blocked: tuple[Blocked, ...] | None = None,
    ) -> None:
        attempt_id = self.attempt.id

        def change(conn: Connection) -> Attempt:
            jobs.check(conn, self.job)
            attempts.record(
                conn, attempt_id, patch=patch, verdict=verdict, usage=usage, seconds=seconds, blocked=blocked
            )
            return attempts.get(conn, attempt_id)

        self.attempt = await self.engine.database.tx(change)

    def _time(self, phase: Literal["prepare", "work", "verify"], started: float) -> None:
        spent = self.engine.clock.monotonic() - started
        total = round(getattr(self.seconds, phase) + spent, 3)
        self.seconds = msgspec.structs.replace(self.seconds, **{phase: total})

    async def fail(self, message: str, hint: str = "") -> None:
        """End the attempt as failed, with the reason in its log."""
        message, hint = self.redaction.clean(message), self.redaction.clean(hint)
        self.events.emit(AttemptFailed(message=message, hint=hint))
        await self.end("failed", f"{message}\n{hint}" if hint else message)

    async def end(self, state: TurnState, message: str | None = None) -> None:
        """End the attempt, and its task if it was the last one."""
        if self.blocked and self.attempt.state not in TURN_ENDED:
            await self._record(blocked=refused(self.blocked))
        await end_attempt(self.engine, self.job, self.events, state, self.redaction, message)
        await self.engine.log.compact(self.attempt.id)
        if self.attempt.turn > 1:
            # Behind the transaction: whoever takes the job up after a crash comes by here again.
            repository_id = self.task.repository_id
            origin = await self.engine.database.read(
                lambda conn: repositories.get(conn, repository_id).origin
            )
            await move_branch(await self.engine.open_mirror(origin), self.attempt, self.course.earlier)

    def keep_traceback(self, text: str) -> Path:
        """Put a traceback where a developer finds it and a user need not read it; return where."""
        folder = self.engine.data / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.attempt.id}.txt"
        path.write_text(self.redaction.clean(text))
        return path

    async def close(self) -> None:
        """Give the sandbox, the workspace and the log's buffer back."""
        if self.prepared is not None:
            await self.prepared.close()
        if self.door is not None:
            await self.door.close()
        await self.events.close()
