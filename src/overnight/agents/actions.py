"""Carries out the calls of one answer: those that only read side by side, the others one after another."""

import asyncio
from collections.abc import Sequence

import msgspec

from overnight.agents import prompts
from overnight.agents.tools.interface import Tool, Toolbox, ToolResult, cut_middle, parse_arguments
from overnight.domain.commands import Arrival
from overnight.domain.conversation import ToolCall
from overnight.domain.events import QuestionAsked, ToolCallEnded, ToolCallStarted
from overnight.domain.ports import Clock, Inbox

AT_ONCE = 8
"""Calls that run side by side."""


class Done(msgspec.Struct, frozen=True):
    """A call and what came of it; a question has no result until a person answers."""

    call: ToolCall
    result: ToolResult


class Actions:
    """The tools of one attempt at work."""

    def __init__(self, tools: Sequence[Tool], toolbox: Toolbox, clock: Clock, inbox: Inbox) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}
        self._toolbox = toolbox
        self._clock = clock
        self._inbox = inbox

    async def carry_out(self, calls: Sequence[ToolCall]) -> tuple[list[Done], tuple[Arrival, ...]]:
        """Return what came of each call, in their order, and what a person sent meanwhile.

        What a person sends, and a question to one, ends it after the action that goes on.
        """
        done: list[Done] = []
        arrived: tuple[Arrival, ...] = ()
        why_not = ""
        for group in self._groups(calls):
            if why_not:
                done += (Done(call, ToolResult(why_not, ok=False)) for call in group)
                continue
            results = await asyncio.gather(*(self._act(call) for call in group))
            done += (Done(call, result) for call, result in zip(group, results, strict=True))
            arrived = await self._inbox.arrived()
            if any(result.question for result in results):
                why_not = prompts.WAITED
            elif arrived:
                why_not = prompts.STEERED
        return done, arrived

    def _groups(self, calls: Sequence[ToolCall]) -> list[list[ToolCall]]:
        """Return the calls in groups that may run side by side."""
        groups: list[list[ToolCall]] = []
        together = False
        for call in calls:
            tool = self._tools.get(call.name)
            reads = tool is None or tool.read_only
            if groups and together and reads and len(groups[-1]) < AT_ONCE:
                groups[-1].append(call)
            else:
                groups.append([call])
            together = reads
        return groups

    async def _act(self, call: ToolCall) -> ToolResult:
        events, step = self._toolbox.events, self._toolbox.step()
        tool = self._tools.get(call.name)
        arguments = parse_arguments(call.arguments, getattr(tool, "raw_argument", ""))
        started = self._clock.monotonic()
        summary = tool.summary(arguments) if tool is not None and arguments is not None else ""
        events.emit(ToolCallStarted(step=step, call_id=call.id, name=call.name[:80], summary=summary))
        if tool is None:
            result = ToolResult(
                f"There is no tool {call.name!r:.80}. Tools: {', '.join(self._tools)}.", ok=False
            )
        elif arguments is None:
            result = ToolResult("The arguments are not a JSON object.", ok=False)
        else:
            result = await tool.run(arguments, self._toolbox)
        # A cut that is no artifact: what errors repeat can be as long as what the model wrote.
        most = 2 * self._toolbox.limits.result_characters
        result = msgspec.structs.replace(result, text=cut_middle(result.text, most))
        events.emit(
            ToolCallEnded(
                step=step,
                call_id=call.id,
                ok=result.ok,
                seconds=round(self._clock.monotonic() - started, 3),
                summary=result.summary or result.question[:120] or result.text[:120],
            )
        )
        if result.question:
            events.emit(
                QuestionAsked(step=step, call_id=call.id, text=result.question, choices=result.choices)
            )
        return result
