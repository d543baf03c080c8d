"""One attempt's conversation: every message is an event, and what was an event is a message again."""

from collections.abc import Sequence

from overnight.agents import prompts
from overnight.agents.context import AGE_AT, SUM_UP_AT, Context
from overnight.agents.interface import Assignment
from overnight.agents.record import StepRecorder, last_of, messages_so_far
from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.domain.commands import Arrival
from overnight.domain.conversation import Completion, Image, Message, Request, ToolCall, ToolSpec
from overnight.domain.errors import ContextOverflowError, ModelError
from overnight.domain.events import (
    CommandEnded,
    ContextCompacted,
    Event,
    LimitHit,
    MessageAdded,
    MessageDelta,
    ModelWaiting,
    QuestionAsked,
    StuckNoticed,
    WentToBackground,
)
from overnight.domain.task import Usage

SHORTEST_WINDOW = 0.25
"""Share of a model's context that is left for the prompt at least, whatever it may answer."""


class Talk:
    """What was said so far, how to ask the model next, and how the events remember it."""

    def __init__(
        self, assignment: Assignment, steps: StepRecorder, tools: Sequence[ToolSpec], toolbox: Toolbox
    ) -> None:
        self._assignment = assignment
        self._steps = steps
        self._toolbox = toolbox
        self._tools = tuple(tools)
        profile = assignment.model.profile
        window = profile.context_tokens - profile.max_output_tokens
        window = max(window, int(profile.context_tokens * SHORTEST_WINDOW))
        self._context = Context(window, tools, messages_so_far(assignment.history))
        self._said = [
            event.message.text
            for event in assignment.history
            if isinstance(event, MessageAdded) and event.command_id
        ]
        self._compactions = [
            event
            for event in assignment.history
            if isinstance(event, ContextCompacted) and event.kind == "summed_up"
        ]
        self._images: dict[str, bytes] = {}

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation."""
        return self._context.messages

    def add(
        self, message: Message, usage: Usage | None = None, command_id: str = "", step: int | None = None
    ) -> None:
        """Let a message join the conversation."""
        self._context.messages.append(message)
        if command_id:
            self._said.append(message.text)
        self._assignment.events.emit(
            MessageAdded(
                step=self._steps.step if step is None else step,
                message=message,
                usage=usage,
                command_id=command_id,
            )
        )

    async def open(self) -> None:
        """Begin the conversation, if it has not begun."""
        if not self.messages:
            for message in await prompts.opening(self._assignment):
                self.add(message, step=0)

    def open_calls(self) -> list[ToolCall]:
        """Return the calls of the last answer that have no result."""
        at = max((n for n, one in enumerate(self.messages) if one.role == "assistant"), default=-1)
        if at < 0:
            return []
        answered = {one.tool_call_id for one in self.messages[at + 1 :]}
        return [call for call in self.messages[at].tool_calls if call.id not in answered]

    def question(self) -> QuestionAsked | None:
        """Return the question that waits for an answer."""
        asked = last_of(QuestionAsked, self._assignment.history)
        open_ids = {call.id for call in self.open_calls()}
        return asked if asked is not None and asked.call_id in open_ids else None

    def resume(self) -> None:
        """Say what an interruption took away: results that nobody recorded, commands in the background."""
        for call in self.open_calls():
            self.add(Message(role="tool", text=prompts.LOST, tool_call_id=call.id))
        lost = gone(self._assignment.history)
        for event in lost:
            ended = CommandEnded(command_id=event.command_id, exit_code=-9, seconds=0.0)
            self._assignment.events.emit(ended)
        if lost:
            names = [event.name for event in lost]
            self.add(Message(role="user", text=prompts.ended_in_background(names)))

    def hear(self, arrived: Sequence[Arrival]) -> None:
        """Pass on what people sent; the first answer is the result of the call that asked."""
        question = self.question()
        for word in arrived:
            if question is not None:
                result = Message(role="tool", text=word.text, tool_call_id=question.call_id)
                question = None
                self.add(result, command_id=word.id)
            else:
                self.add(Message(role="user", text=word.text), command_id=word.id)

    def result(self, call: ToolCall, result: ToolResult) -> None:
        """Add what came of a call; pictures follow in a message of their own, which every provider takes."""
        if not result.question:
            self.add(Message(role="tool", text=result.text, tool_call_id=call.id))

    def pictures(self, images: Sequence[Image]) -> None:
        """Show pictures to the model."""
        if images:
            self.add(Message(role="user", text="What you asked to look at:", images=tuple(images)))

    def notice(self, noticed: StuckNoticed, *, over: bool) -> None:
        """Record that the agent goes round in circles, and tell the model unless it is over anyway."""
        self._assignment.events.emit(noticed)
        if not over:
            self.add(Message(role="user", text=prompts.stuck(noticed.what, noticed.times)))

    async def ask(self) -> Completion:
        """Return the model's answer, which joined the conversation; made shorter before if need be."""
        await self._make_room()
        completion: Completion | None = None
        while completion is None:
            try:
                completion = await self._complete(self.messages)
            except ContextOverflowError:
                before = len(self.messages)
                self._context.overflowed()
                await self._sum_up(ask=False)
                if len(self.messages) >= before:
                    raise
        self.add(completion.message, usage=completion.usage)
        self._context.counted(completion.usage)
        return completion

    async def _complete(self, messages: Sequence[Message], *, show: bool = True) -> Completion:
        assignment, step = self._assignment, self._steps.step
        events = assignment.events
        completion = await assignment.model.complete(
            Request(
                messages=tuple(messages),
                tools=self._tools,
                max_output_tokens=assignment.model.profile.max_output_tokens,
                images=self._bytes(messages),
                silence_seconds=assignment.limits.model_silence_seconds,
            ),
            on_delta=(lambda text: events.emit(MessageDelta(step=step, text=text))) if show else None,
            on_waiting=lambda reason: events.emit(ModelWaiting(reason=reason)),
            on_reasoning=lambda text: events.emit(MessageDelta(step=step, text=text, kind="reasoning")),
            on_limit=lambda name, detail: events.emit(LimitHit(limit=name, detail=detail)),
        )
        self._steps.count(completion.usage)
        return completion

    async def _make_room(self) -> None:
        """Make the conversation shorter where the window is nearly full: rarely, and then by much."""
        if self._context.filled > AGE_AT:
            event = self._context.aging(self._steps.step)
            if event is not None:
                self._shorten(event)
        if self._context.filled > SUM_UP_AT:
            await self._sum_up(ask=True)

    async def _sum_up(self, *, ask: bool) -> None:
        """Put the task, the plan, the files and the model's own notes in place of the older messages."""
        before = self._compactions[-1] if self._compactions else None
        notes = prompts.notes_of(before.summary) if before is not None else ""
        if ask:
            try:
                request = Message(role="user", text=prompts.SUM_UP)
                completion = await self._complete([*self.messages, request], show=False)
                notes = completion.text.strip() or notes
            except ModelError:
                pass  # Without new notes the model looks again at what it needs.
        changes = self._assignment.workspace.changes()
        summary = prompts.shortened(self._toolbox.plan, changes, self._said, notes)
        event = self._context.summing_up(self._steps.step, summary)
        self._compactions.append(event)
        self._shorten(event)

    def _shorten(self, event: ContextCompacted) -> None:
        self._assignment.events.emit(event)
        self._context.compact(event)

    def _bytes(self, messages: Sequence[Message]) -> dict[str, bytes]:
        """Return the pictures that the messages show."""
        wanted = [image.digest for message in messages for image in message.images]
        self._images = {
            digest: self._images.get(digest) or self._assignment.artifacts.get(digest) for digest in wanted
        }
        return dict(self._images)


def gone(history: Sequence[Event]) -> list[WentToBackground]:
    """Return the commands in the background whose end nobody recorded."""
    running: dict[str, WentToBackground] = {}
    for event in history:
        if isinstance(event, WentToBackground):
            running[event.command_id] = event
        elif isinstance(event, CommandEnded):
            running.pop(event.command_id, None)
    return list(running.values())
