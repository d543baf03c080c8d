"""What a program says to its model, as steps of the attempt: each request ends one and begins another."""

import asyncio

import msgspec

from overnight.agents.interface import Assignment
from overnight.agents.record import StepRecorder, messages_so_far
from overnight.domain.commands import Arrival
from overnight.domain.conversation import Completion, Message, Request
from overnight.domain.errors import LimitError
from overnight.domain.events import (
    LimitHit,
    MessageAdded,
    MessageDelta,
    ModelWaiting,
    ToolCallEnded,
    ToolCallStarted,
)
from overnight.models.gateway.dialect import Asked, Memory
from overnight.models.interface import OnDelta

_SUMMARY = 120


class Said(msgspec.Struct, frozen=True):
    """What a person said while the program worked: it stands in every later request, at its place."""

    behind: int
    """How many messages of the program's own stand before it."""
    message: Message


class Exchanges:
    """Answers a program's requests with the attempt's model, and records them.

    A request with tools is a step of the conversation. One without is something on the side (a title, a
    summary): it costs, but it is no step.
    """

    def __init__(
        self, assignment: Assignment, opening: tuple[Arrival, ...] = (), asides: bool = True
    ) -> None:
        """`opening`: what people said before the program began; its prompt holds it.

        `asides`: whether requests without tools are on the side.
        """
        self._asides = asides
        self._assignment = assignment
        self._opening = opening
        self._memory = Memory()
        self._seen: tuple[Message, ...] = ()
        self._said: list[Said] = []
        self._open = False
        self._started: dict[str, float] = {}
        self._one = asyncio.Lock()
        self.recorder = StepRecorder(assignment)
        self.over = asyncio.Event()
        """Set when a limit ended the conversation."""
        self.summary = ""
        """The last thing that the model said."""

    @property
    def asked(self) -> bool:
        """Whether the program made any request."""
        return self.recorder.usage.model_calls > 0

    async def answer(self, asked: Asked, on_delta: OnDelta) -> Completion:
        """Answer one request.

        Raises:
            LimitError: the attempt is at a limit; the program gets no further answer.
            ModelError: what the model raises.
        """
        if self._asides and not asked.request.tools:
            return await self._aside(asked.request)
        async with self._one:
            await self._end_step()
            if self.over.is_set() or not self.recorder.may_go_on():
                self.over.set()
                raise LimitError(self.recorder.reached, self.recorder.stopped_by or "the attempt has ended")
            step = self.recorder.begin("thinking")
            self._open = True
            request = await self._heard(asked.request, step)
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
            await self.recorder.end(state)

    async def _heard(self, request: Request, step: int) -> Request:
        """Record what is new in a request, put in what people said, and return it as the model gets it."""
        emit = self._assignment.events.emit
        pairs = zip(map(_key, self._seen), map(_key, request.messages), strict=False)
        common = next((place for place, (old, new) in enumerate(pairs) if old != new), len(self._seen))
        for message in request.messages[common:]:
            emit(MessageAdded(step=step, message=message))
            self._ended(message, step)
        for arrival in self._opening:
            message = Message(role="user", text=arrival.text)
            emit(MessageAdded(step=step, message=message, command_id=arrival.id))
        self._opening = ()
        self._seen = request.messages
        # What was said behind messages that the program has dropped or rewritten comes at its end.
        self._said = [Said(min(said.behind, len(request.messages)), said.message) for said in self._said]
        for arrival in await self._assignment.inbox.arrived():
            message = Message(role="user", text=arrival.text)
            self._said.append(Said(len(request.messages), message))
            emit(MessageAdded(step=step, message=message, command_id=arrival.id))
        messages = list(request.messages)
        for said in reversed(self._said):
            messages.insert(said.behind, said.message)
        profile = self._assignment.model.profile
        wanted = request.max_output_tokens or profile.max_output_tokens
        return self._memory.restored(
            msgspec.structs.replace(
                request,
                messages=tuple(messages),
                max_output_tokens=min(wanted, profile.max_output_tokens),
                silence_seconds=self._assignment.limits.model_silence_seconds,
            )
        )

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
        self._seen = (*self._seen, message)
        self.summary = completion.text.strip() or self.summary
        emit = self._assignment.events.emit
        emit(MessageAdded(step=step, message=message, usage=completion.usage))
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
        """Answer a request on the side."""
        if self.over.is_set():
            raise LimitError(self.recorder.reached, self.recorder.stopped_by)
        profile = self._assignment.model.profile
        wanted = request.max_output_tokens or profile.max_output_tokens
        request = msgspec.structs.replace(request, max_output_tokens=min(wanted, profile.max_output_tokens))
        completion = await self._assignment.model.complete(request)
        self.recorder.count(completion.usage)
        return completion


def conversation_text(assignment: Assignment) -> str:
    """Return what was said so far as text, for a program that cannot take its session up again."""
    lines: list[str] = []
    for message in messages_so_far(assignment.history):
        if message.role == "system":
            continue
        if message.text:
            lines.append(f"[{message.role}] {message.text}")
        lines += [f"[action] {call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join(lines)


def _key(message: Message) -> tuple[str, str, tuple[str, ...], str]:
    """Return what of a message must be the same when a program repeats it."""
    calls = tuple(call.id for call in message.tool_calls)
    return message.role, message.text.strip(), calls, message.tool_call_id or ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SUMMARY else f"{line[: _SUMMARY - 1]}…"
