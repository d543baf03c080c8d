"""What every agent records of a step, and what it finds again when it is taken up after one."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeVar

from overnight.agents.context import compacted
from overnight.agents.interface import Assignment, Outcome
from overnight.domain.conversation import Message
from overnight.domain.events import (
    CheckpointCreated,
    ContextCompacted,
    Event,
    LimitHit,
    MessageAdded,
    StepEnded,
    StepStarted,
    UsageUpdated,
)
from overnight.domain.task import Usage
from overnight.environments.interface import Workspace


def last_step(history: Sequence[Event]) -> StepEnded | None:
    """Return the last finished step of a history, or None."""
    return last_of(StepEnded, history)


def usage_so_far(history: Iterable[Event]) -> Usage:
    """Return the usage that the history last stated."""
    usage = Usage()
    for event in history:
        if isinstance(event, UsageUpdated):
            usage = event.usage
    return usage


def messages_so_far(history: Sequence[Event]) -> list[Message]:
    """Return the conversation up to the last finished step; empty when no step was finished."""
    messages: list[Message] = []
    pending: list[MessageAdded | ContextCompacted] = []
    for event in history:
        if isinstance(event, MessageAdded):
            if event.step == 0 and event.message.role == "system":
                pending = []
            pending.append(event)
        elif isinstance(event, ContextCompacted):
            pending.append(event)
        elif isinstance(event, StepStarted):
            # What a killed worker left of an unfinished step is asked for again.
            pending = [added for added in pending if added.step == 0]
        elif isinstance(event, StepEnded):
            for one in pending:
                if isinstance(one, MessageAdded):
                    messages.append(one.message)
                else:
                    messages = compacted(messages, one)
            pending = []
    return messages


EventType = TypeVar("EventType", bound=Event)


def last_of(kind: type[EventType], history: Sequence[Event]) -> EventType | None:
    """Return the last event of a kind, or None."""
    return next((event for event in reversed(history) if isinstance(event, kind)), None)


def base_paths(workspace: Workspace) -> frozenset[str]:
    """Return the files of the base commit, also for a workspace that holds changes already."""
    changes = workspace.changes()
    added = {change.path for change in changes if change.change == "added"}
    deleted = {change.path for change in changes if change.change == "deleted"}
    return frozenset((set(workspace.files()) - added) | deleted)


class StepRecorder:
    """Numbers the steps, keeps their usage and checkpoints, and knows when a limit is reached."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._started = assignment.clock.monotonic()
        before = last_step(assignment.history)
        self.step = before.step if before else 0
        self.usage = usage_so_far(assignment.history)
        self.checkpoint = before.checkpoint if before else None
        self._seconds_before = before.seconds if before else 0.0
        self._flushing: asyncio.Future[None] | None = None
        self.stopped_by = ""
        self.reached = ""
        """The name of the limit that was reached."""

    def may_go_on(self, another_step: bool = True) -> bool:
        """Say whether another step, or at least another request, is within the limits; if not, record it."""
        limits, spent = self._assignment.limits, self._assignment.spent
        tokens = self.usage.input_tokens + self.usage.output_tokens
        tokens -= spent.usage.input_tokens + spent.usage.output_tokens
        reached = (
            ("steps", self.step - spent.steps, limits.steps),
            ("tokens", tokens, limits.tokens),
            ("cost_usd", self.usage.cost_usd - spent.usage.cost_usd, limits.cost_usd),
            ("attempt_seconds", self._seconds() - spent.seconds, limits.attempt_seconds),
        )
        for name, value, bound in reached:
            if value >= bound and (another_step or name != "steps"):
                self.reached = name
                self.stopped_by = f"Stopped at the limit {name} = {bound:g}"
                shown = f"{value:.2f}" if name == "cost_usd" else f"{value:.0f}"
                self._assignment.events.emit(LimitHit(limit=name, detail=f"{shown} of {bound:g}"))
                return False
        return True

    def stop(self, limit: str, bound: float) -> Outcome:
        """Give up at a limit that no person is asked to raise; it is recorded."""
        self._assignment.events.emit(LimitHit(limit=limit, detail=f"{bound:g}, and as many more"))
        return Outcome(summary=f"Stopped at the limit {limit} = {bound:g}", usage=self.usage, gave_up=True)

    def seconds_left(self) -> float:
        """Return how much of the turn's time is left."""
        used = self._seconds() - self._assignment.spent.seconds
        return max(0.0, self._assignment.limits.attempt_seconds - used)

    def _seconds(self) -> float:
        """Return the working time so far, of all workers and turns together."""
        return self._seconds_before + self._assignment.clock.monotonic() - self._started

    def begin(self, title: str) -> int:
        """Start the next step and return its number."""
        self.step += 1
        self._assignment.events.emit(StepStarted(step=self.step, title=title))
        return self.step

    def count(self, usage: Usage) -> None:
        """Add a model call's usage."""
        self.usage += usage
        self._assignment.events.emit(UsageUpdated(usage=self.usage))

    async def end(self, state: str = "") -> None:
        """Finish the step: keep the files if they changed, and the state to go on from here."""
        await self.settle()
        # What runs on in the background must not write while its files are read.
        async with self._assignment.sandbox.frozen():
            digest = await self._assignment.workspace.checkpoint()
        if digest != self.checkpoint:
            self.checkpoint = digest
            self._assignment.events.emit(CheckpointCreated(step=self.step, digest=digest))
        self._assignment.events.emit(
            StepEnded(step=self.step, checkpoint=digest, state=state, seconds=round(self._seconds(), 3))
        )
        # The disk works while the model thinks; what the next step does waits for it.
        self._flushing = asyncio.ensure_future(self._assignment.events.flush())
        self._flushing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def settle(self) -> None:
        """Return when the last finished step is on disk.

        Raises:
            StaleLeaseError: another worker holds the attempt.
        """
        if self._flushing is not None:
            await self._flushing
