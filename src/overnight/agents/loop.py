"""`loop`: ask the model, do what it asks for, tell it what came of it, until it hands back."""

import asyncio
from collections.abc import Sequence

from overnight.agents import prompts, stuck
from overnight.agents.actions import Actions
from overnight.agents.interface import NOTHING, Assignment, Outcome
from overnight.agents.record import StepRecorder, last_step
from overnight.agents.talk import Talk
from overnight.agents.tools.catalog import tools_for
from overnight.agents.tools.interface import Tool
from overnight.agents.workbench import toolbox_for
from overnight.domain.conversation import Message

DONE = "done"
"""The state of a step after which the agent handed back."""


class Loop:
    """The tool-calling agent for capable models."""

    name = "loop"
    equipment = NOTHING

    def __init__(self, tools: Sequence[Tool] | None = None) -> None:
        self._tools = tools

    async def work(self, assignment: Assignment) -> Outcome:
        """Work until the model answers without a tool call, a person must answer, or a limit is reached.

        Raises:
            ModelError: the model failed for good.
        """
        steps = StepRecorder(assignment)
        toolbox = toolbox_for(assignment, steps)
        tools = self._tools if self._tools is not None else tools_for(assignment.model.profile)
        talk = Talk(assignment, steps, [tool.spec for tool in tools], toolbox)
        actions = Actions(tools, toolbox, assignment.clock, assignment.inbox)
        try:
            return await self._work(assignment, steps, talk, actions)
        finally:
            await toolbox.background.close()

    async def _work(
        self, assignment: Assignment, steps: StepRecorder, talk: Talk, actions: Actions
    ) -> Outcome:
        circles = stuck.from_history(assignment.history, assignment.limits.repeats)
        before, arrived = last_step(assignment.history), await assignment.inbox.arrived()
        if (asked := talk.question()) is not None and not arrived:
            return Outcome(summary="", usage=steps.usage, question=asked.text, choices=asked.choices)
        if talk.messages and before is not None and before.state == DONE and not arrived:
            return Outcome(summary=talk.messages[-1].text.strip(), usage=steps.usage)
        taken_up = True
        while steps.may_go_on():
            steps.begin("thinking")
            await talk.open()
            talk.hear(arrived or await assignment.inbox.arrived())
            if taken_up:
                talk.resume()
            taken_up = False
            try:
                async with asyncio.timeout(steps.seconds_left()):
                    completion = await talk.ask()
            except TimeoutError:
                continue  # The turn's time is over, which the loop's condition records.
            await steps.settle()
            done, arrived = await actions.carry_out(completion.tool_calls)
            for one in done:
                talk.result(one.call, one.result)
                circles.saw(one.call, one.result.text, ok=one.result.ok)
            talk.pictures([image for one in done for image in one.result.images])
            if completion.finish == "length":
                talk.add(Message(role="user", text=prompts.CUT_OFF))
            if done and (noticed := circles.notice(steps.step)) is not None:
                talk.notice(noticed, over=circles.over)
            arrived = arrived or await assignment.inbox.arrived()
            ready = not done and completion.finish != "length" and not arrived
            await steps.end(DONE if ready else "")
            if question := next((one.result for one in done if one.result.question), None):
                return Outcome(
                    summary="", usage=steps.usage, question=question.question, choices=question.choices
                )
            if ready:
                return Outcome(summary=completion.text.strip(), usage=steps.usage)
            if circles.over:
                return steps.stop("repeats", assignment.limits.repeats)
        return Outcome(summary=steps.stopped_by, usage=steps.usage, gave_up=True, reached=steps.reached)
