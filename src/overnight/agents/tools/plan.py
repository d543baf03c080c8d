"""`plan`: what the agent means to do, for the people who watch; kept when the conversation is shortened."""

from collections.abc import Mapping
from typing import Any

import msgspec

from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.domain.conversation import ToolSpec
from overnight.domain.events import PlanStep, PlanUpdated

MAX_STEPS = 50
MAX_CHARACTERS = 300
STATES = ("pending", "doing", "done")


class Plan:
    """States the whole plan anew each time."""

    read_only = False
    spec = ToolSpec(
        name="plan",
        description=(
            "Tell the people who watch what you mean to do: all steps, each with its state. Use it for work "
            "of more than three steps, and again whenever a step is done or the plan changes."
        ),
        parameters={
            "type": "object",
            "properties": {
                "steps": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "text": {"type": "string"},
                            "state": {"type": "string", "enum": list(STATES)},
                        },
                        "required": ["text", "state"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["steps"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return how many steps it has."""
        steps = read_steps(arguments)
        return f"{len(steps)} steps, {sum(step.state == 'done' for step in steps)} done" if steps else ""

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Record the plan."""
        steps = read_steps(arguments)
        if not steps:
            return ToolResult(
                f"`steps` must be 1 to {MAX_STEPS} objects with `text` and `state` ({', '.join(STATES)})",
                ok=False,
            )
        toolbox.plan = steps
        toolbox.events.emit(PlanUpdated(step=toolbox.step(), steps=steps))
        return ToolResult("Noted.")


def read_steps(arguments: Mapping[str, Any]) -> tuple[PlanStep, ...]:
    """Return the steps of a call; none where they are not what they must be."""
    try:
        steps = msgspec.convert(arguments.get("steps"), tuple[PlanStep, ...])
    except msgspec.ValidationError:
        return ()
    if len(steps) > MAX_STEPS or not all(step.text.strip() for step in steps):
        return ()
    return tuple(PlanStep(_plain(step.text), step.state) for step in steps)


def _plain(text: str) -> str:
    return " ".join(text.split()).encode("utf-8", "replace").decode()[:MAX_CHARACTERS]
