"""What a program says to its model, as steps of the attempt: each request ends one and begins another."""

import asyncio
from collections import deque
from collections.abc import Iterable

import msgspec

from overnight.agents.interface import Assignment
from overnight.agents.programs.conversation import Conversation
from overnight.agents.programs.home import Home
from overnight.agents.record import StepRecorder
from overnight.domain.commands import Arrival
from overnight.domain.conversation import Completion, Message, Request
from overnight.domain.errors import ContextOverflowError, LimitError
from overnight.domain.events import (
    LimitHit,
    MessageAdded,
    MessageDelta,
    ModelWaiting,
    ToolCallEnded,
    ToolCallStarted,
)
from overnight.domain.task import Usage
from overnight.models.gateway.dialect import Asked, Memory
from overnight.models.interface import OnDelta

_SUMMARY = 120
_CHARACTERS = 16
"""No text has so many a token: what has more of them than the window would only fill the log."""


class Exchanges:
    """Answers a program's requests with the attempt's model, and records them.

    A request with tools is a step of the conversation. One without is something on the side (a title, a
    summary): it costs, but it is no step.
    """

    def __init__(self, assignment: Assignment, home: Home, asides: bool = True) -> None:
        """`asides`: whether requests without tools are on the side."""
        self._asides = asides
        self._assignment = assignment
        self._home = home
        self._opening: tuple[Arrival, ...] = ()
        self._memory = Memory()
        self._open = False
        self._started: dict[str, float] = {}
        self._one = asyncio.Lock()
        self._side = asyncio.Lock()
        self.conversation = Conversation(assignment.history)
        self.recorder = StepRecorder(assignment)
        self.over = asyncio.Event()
        """Set when a limit ended the conversation."""
        self.asked = False
        """Whether the program made any request since it was started."""
        self.summary = ""
        """The last thing that the model said."""

    def begin(self, opening: tuple[Arrival, ...], native: bool) -> None:
        """The program starts, with a prompt that holds `opening`; `native`: it takes its session up."""
        self._opening, self.asked = opening, False
        if native:
            self.conversation.native()
        else:
            self.conversation.fresh()

    async def answer(self, asked: Asked, on_delta: OnDelta) -> Completion:
        """Answer one request.

        Raises:
            LimitError: the attempt is at a limit; the program gets no further answer.
            ContextOverflowError: the request cannot fit into the model's window; it is not even recorded.
            ModelError: what the model raises.
        """
        self.asked = True
        window = self._assignment.model.profile.context_tokens
        if sum(map(_size, asked.request.messages)) > window * _CHARACTERS:
            raise ContextOverflowError(f"The conversation is longer than the {window} tokens of the window")
        if self._asides and not asked.request.tools:
            return await self._aside(asked.request)
        async with self._one:
            new = deque(self.conversation.new_in(asked.request.messages))
            # The results of actions belong to the step whose answer asked for them.
            while self._open and new and new[0].role == "tool":
                self._take_in(new.popleft(), self.recorder.step)
            await self._end_step()
            if self.over.is_set() or not self.recorder.may_go_on():
                self.over.set()
                raise LimitError(self.recorder.reached, self.recorder.stopped_by or "the attempt has ended")
            step = self.recorder.begin("thinking")
            self._open = True
            request = await self._heard(asked.request, new, step)
            completion = await self._complete(request, step, on_delta)
            self._record(completion, step)
            return completion

    async def end(self, state: str) -> None:
        """Finish the last step: the program has ended."""
        async with self._one:
            if not self._open and not self.over.is_set():
                self.recorder.begin("ended")
                self._open = True
            await self._end_step(state)

    async def _end_step(self, state: str = "") -> None:
        if self._open:
            self._open = False
            await self._home.keep(self.recorder.step)
            await self.recorder.end(state)

    def _take_in(self, message: Message, step: int) -> None:
        self._add(step, message, self._receipt(message))
        self._ended(message, step)

    async def _heard(self, request: Request, new: Iterable[Message], step: int) -> Request:
        """Record what is `new` in a request, put in what people said, and return it as the model gets it."""
        for message in new:
            self._take_in(message, step)
        for arrival in self._opening:
            self._add(step, Message(role="user", text=arrival.text), arrival.id)
        self._opening = ()
        for arrival in await self._assignment.inbox.arrived():
            message = Message(role="user", text=arrival.text)
            self.conversation.say(message)
            self._add(step, message, arrival.id)
        return self._memory.restored(
            msgspec.structs.replace(self._bounded(request), messages=self.conversation.with_said())
        )

    def _bounded(self, request: Request) -> Request:
        profile = self._assignment.model.profile
        wanted = request.max_output_tokens or profile.max_output_tokens
        return msgspec.structs.replace(
            request,
            max_output_tokens=min(wanted, profile.max_output_tokens),
            silence_seconds=self._assignment.limits.model_silence_seconds,
        )

    def _receipt(self, message: Message) -> str:
        """Return the id of the words that the program was started with and that stand in this message."""
        if message.role != "user":
            return ""
        found = next((one for one in self._opening if one.text in message.text), None)
        self._opening = tuple(one for one in self._opening if one is not found)
        return found.id if found is not None else ""

    def _add(self, step: int, message: Message, command_id: str = "", usage: Usage | None = None) -> None:
        event = MessageAdded(step=step, message=message, command_id=command_id, usage=usage)
        self.conversation.recorded(event)
        self._assignment.events.emit(event)

    async def _complete(self, request: Request, step: int, on_delta: OnDelta) -> Completion:
        emit = self._assignment.events.emit

        def text(piece: str) -> None:
            emit(MessageDelta(step=step, text=piece))
            on_delta(piece)

        completion = await self._assignment.model.complete(
            request,
            text,
            lambda reason: emit(ModelWaiting(reason=reason)),
            lambda piece: emit(MessageDelta(step=step, text=piece, kind="reasoning")),
            lambda name, detail: emit(LimitHit(limit=name, detail=detail)),
        )
        self.recorder.count(completion.usage)
        return completion

    def _record(self, completion: Completion, step: int) -> None:
        message = completion.message
        self._memory.keep(message)
        self.conversation.answered(message)
        self.summary = completion.text.strip() or self.summary
        self._add(step, message, usage=completion.usage)
        emit = self._assignment.events.emit
        for call in completion.tool_calls:
            self._started[call.id] = self._assignment.clock.monotonic()
            emit(
                ToolCallStarted(
                    step=step, call_id=call.id, name=call.name[:80], summary=_short(call.arguments)
                )
            )

    def _ended(self, message: Message, step: int) -> None:
        """Record the result of an action, which the program ran by itself."""
        started = self._started.pop(message.tool_call_id or "", None) if message.role == "tool" else None
        if started is not None:
            seconds = round(self._assignment.clock.monotonic() - started, 3)
            self._assignment.events.emit(
                ToolCallEnded(
                    step=step,
                    call_id=message.tool_call_id or "",
                    ok=True,
                    seconds=seconds,
                    summary=_short(message.text),
                )
            )

    async def _aside(self, request: Request) -> Completion:
        """Answer a request on the side: one at a time, so that the limits see what each has cost."""
        emit = self._assignment.events.emit
        async with self._side:
            if self.over.is_set() or not self.recorder.may_go_on(another_step=False):
                self.over.set()
                raise LimitError(self.recorder.reached, self.recorder.stopped_by or "the attempt has ended")
            completion = await self._assignment.model.complete(
                self._bounded(request),
                None,
                lambda reason: emit(ModelWaiting(reason=reason)),
                None,
                lambda name, detail: emit(LimitHit(limit=name, detail=detail)),
            )
            self.recorder.count(completion.usage)
            return completion


def _size(message: Message) -> int:
    return len(message.text) + sum(len(call.arguments) for call in message.tool_calls)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SUMMARY else f"{line[: _SUMMARY - 1]}…"
