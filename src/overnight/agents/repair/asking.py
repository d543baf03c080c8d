"""Asks the model: several requests in flight, answers taken in the order in which they were asked."""

import asyncio
from collections import deque
from collections.abc import Iterable
from types import TracebackType

import msgspec

from overnight.agents.interface import Assignment
from overnight.agents.repair.locate import Target
from overnight.agents.repair.views import View
from overnight.domain.conversation import Completion, Message, Request
from overnight.domain.events import MessageDelta, ModelWaiting

STOP = ("\n```\n",)
"""The end of the first code block: what small models write behind it only costs time."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One sample to be asked for: a place, how it is shown, and how freely the model may answer."""

    target: Target
    view: View
    temperature: float
    seed: int
    messages: tuple[Message, ...]

    @property
    def request(self) -> Request:
        """The request for the model, its answer bounded by the size of the function."""
        function = self.target.function
        size = len(function.text) // 2 if function.text else 1400
        return Request(
            messages=self.messages,
            temperature=self.temperature,
            seed=self.seed,
            stop=STOP,
            max_output_tokens=min(1600, 220 + size + (120 if self.view in ("reason", "echo") else 0)),
        )


class Asking:
    """A window of requests in flight over a round's asks.

    Steps are recorded one after the other, so an answer's deltas wait until its step is the current one.
    """

    def __init__(self, assignment: Assignment, asks: Iterable[Ask]) -> None:
        self._assignment = assignment
        self._waiting = deque(asks)
        self._flying: deque[tuple[Ask, asyncio.Task[Completion], list[str]]] = deque()
        self._current: list[str] | None = None
        self._step = 0

    async def __aenter__(self) -> "Asking":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [task for _, task, _ in self._flying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._flying.clear()

    @property
    def left(self) -> int:
        """How many asks are not answered yet."""
        return len(self._waiting) + len(self._flying)

    def stop_asking(self) -> None:
        """Ask nothing new; what is in flight still gets its answer."""
        self._waiting.clear()

    def ask_first(self, asks: Iterable[Ask]) -> None:
        """Ask these before what still waits."""
        self._waiting.extendleft(asks)

    def next(self) -> Ask | None:
        """Return the ask whose answer comes next, keeping the window full; None when there are no more."""
        while self._waiting and len(self._flying) < max(1, self._assignment.model.profile.parallel):
            ask = self._waiting.popleft()
            deltas: list[str] = []
            self._flying.append((ask, asyncio.create_task(self._complete(ask, deltas)), deltas))
        return self._flying[0][0] if self._flying else None

    async def answer(self, step: int) -> Completion:
        """Return the answer to the ask that `next` returned.

        Raises:
            ModelError: the model failed.
        """
        _, task, deltas = self._flying[0]
        self._step, self._current = step, deltas
        if deltas:
            self._assignment.events.emit(MessageDelta(step=step, text="".join(deltas)))
        try:
            return await asyncio.shield(task)
        finally:
            self._current = None
            if task.done():
                self._flying.popleft()

    async def _complete(self, ask: Ask, deltas: list[str]) -> Completion:
        def on_delta(text: str) -> None:
            deltas.append(text)
            if self._current is deltas:
                self._assignment.events.emit(MessageDelta(step=self._step, text=text))

        return await self._assignment.model.complete(
            ask.request,
            on_delta=on_delta,
            on_waiting=lambda reason: self._assignment.events.emit(ModelWaiting(reason=reason)),
        )
