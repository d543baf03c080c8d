"""`loop`: ask the model, do what it asks for, tell it what came of it, until it hands back."""

import asyncio

from overnight.agents.interface import NOTHING, Assignment, Outcome
from overnight.agents.record import StepRecorder, base_paths, last_step, messages_so_far
from overnight.agents.tools.apply_patch import ApplyPatch
from overnight.agents.tools.interface import Tool, Toolbox, ToolResult, parse_arguments
from overnight.agents.tools.read import Read
from overnight.agents.tools.search import Search
from overnight.agents.tools.shell import Shell
from overnight.domain.conversation import Completion, Message, Request, ToolCall
from overnight.domain.events import MessageAdded, MessageDelta, ModelWaiting, ToolCallEnded, ToolCallStarted

SYSTEM = """\
You are a software engineer who works alone on a repository, in a sandbox.
Make the change that the task asks for, with the smallest edit that is right. Read before you edit.
Run the checks before you hand back; they will be run again in a clean copy of the repository.
Existing tests and the configuration of the checks are protected: changes to them are undone.
When you are done, answer without a tool call, in one or two sentences that say what you changed and why."""

DONE = "done"
"""The state of a step after which the agent handed back."""


class Loop:
    """The tool-calling agent for capable models."""

    name = "loop"
    equipment = NOTHING

    def __init__(self, tools: tuple[Tool, ...] | None = None) -> None:
        self.tools = tools or (Shell(), ApplyPatch(), Read(), Search())

    async def work(self, assignment: Assignment) -> Outcome:
        """Work until the model answers without a tool call, or a limit is reached."""
        recorder = StepRecorder(assignment)
        toolbox = Toolbox(
            assignment.workspace,
            assignment.sandbox,
            assignment.events,
            assignment.protected,
            base_paths(assignment.workspace),
            lambda: min(assignment.limits.command_seconds, recorder.seconds_left()),
        )
        messages = messages_so_far(assignment.history)
        before = last_step(assignment.history)
        arrived = await assignment.inbox.arrived()
        if messages and before is not None and before.state == DONE and not arrived:
            return Outcome(summary=messages[-1].text.strip(), usage=recorder.usage)
        messages = messages or self._opening(assignment)
        while recorder.may_go_on():
            step = recorder.begin("thinking")
            for word in arrived or await assignment.inbox.arrived():
                messages.append(Message(role="user", text=word.text))
                assignment.events.emit(MessageAdded(step=step, message=messages[-1], command_id=word.id))
            arrived = ()
            try:
                async with asyncio.timeout(recorder.seconds_left()):
                    completion = await self._ask(assignment, messages, step)
            except TimeoutError:
                continue  # The attempt's time is over, which the loop's condition records.
            recorder.count(completion.usage)
            answer = Message(role="assistant", text=completion.text, tool_calls=completion.tool_calls)
            messages.append(answer)
            assignment.events.emit(MessageAdded(step=step, message=answer, usage=completion.usage))
            for call in completion.tool_calls:
                result = await self._act(assignment, call, toolbox, step)
                messages.append(Message(role="tool", text=result.text, tool_call_id=call.id))
                assignment.events.emit(MessageAdded(step=step, message=messages[-1]))
            if completion.finish == "length":
                messages.append(Message(role="user", text="Your answer was cut off. Go on, more briefly."))
                assignment.events.emit(MessageAdded(step=step, message=messages[-1]))
            done = not completion.tool_calls and completion.finish != "length"
            arrived = await assignment.inbox.arrived() if done else ()
            done = done and not arrived
            await recorder.end(DONE if done else "")
            if done:
                return Outcome(summary=completion.text.strip(), usage=recorder.usage)
        return Outcome(summary=recorder.stopped_by, usage=recorder.usage, gave_up=True)

    def _opening(self, assignment: Assignment) -> list[Message]:
        checks = "\n".join(f"  {check}" for check in assignment.checks) or "  (none are known)"
        reach = f"commands may reach {assignment.network}; checks" if assignment.network else "commands"
        network = f"Network: {reach} reach nothing."
        opening = [
            Message(role="system", text=SYSTEM),
            Message(role="user", text=f"Task:\n{assignment.prompt}\n\nChecks:\n{checks}\n\n{network}"),
        ]
        for message in opening:
            assignment.events.emit(MessageAdded(step=0, message=message))
        return opening

    async def _ask(self, assignment: Assignment, messages: list[Message], step: int) -> Completion:
        request = Request(
            messages=tuple(messages),
            tools=tuple(tool.spec for tool in self.tools),
            max_output_tokens=assignment.model.profile.max_output_tokens,
        )
        return await assignment.model.complete(
            request,
            on_delta=lambda text: assignment.events.emit(MessageDelta(step=step, text=text)),
            on_waiting=lambda reason: assignment.events.emit(ModelWaiting(reason=reason)),
        )

    async def _act(self, assignment: Assignment, call: ToolCall, toolbox: Toolbox, step: int) -> ToolResult:
        tool = next((tool for tool in self.tools if tool.spec.name == call.name), None)
        arguments = parse_arguments(call.arguments)
        started = assignment.clock.monotonic()
        summary = tool.summary(arguments) if tool is not None and arguments is not None else ""
        toolbox.events.emit(ToolCallStarted(step=step, call_id=call.id, name=call.name[:80], summary=summary))
        if tool is None:
            names = ", ".join(tool.spec.name for tool in self.tools)
            result = ToolResult(f"There is no tool {call.name!r}. Tools: {names}.", ok=False)
        elif arguments is None:
            result = ToolResult("The arguments are not a JSON object.", ok=False)
        else:
            result = await tool.run(arguments, toolbox)
        toolbox.events.emit(
            ToolCallEnded(
                step=step,
                call_id=call.id,
                ok=result.ok,
                seconds=round(assignment.clock.monotonic() - started, 3),
                summary=result.summary or result.text[:120],
            )
        )
        return result
