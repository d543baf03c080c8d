"""`process`: looks at, writes to and stops the commands that `shell` left in the background."""

from collections.abc import Mapping
from typing import Any

from overnight.agents.tools.background import STOP_SECONDS, Ongoing
from overnight.agents.tools.interface import Toolbox, ToolResult
from overnight.agents.tools.shell import ended, seconds_of, standing
from overnight.domain.conversation import ToolSpec

ACTIONS = ("poll", "write", "stop", "list")
WRITE_SECONDS = 0.5
"""How long to wait for what a command says to its input."""
MAX_WAIT_SECONDS = 300.0


class Process:
    """One tool for all that can be done to a command in the background."""

    read_only = False
    spec = ToolSpec(
        name="process",
        description=(
            "Deal with commands in the background: `poll` waits up to wait_seconds and returns the new "
            "output, `write` puts text into the standard input (end a line with \\n) and returns what it "
            "says to that, `stop` ends it, `list` names all."
        ),
        parameters={
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": list(ACTIONS)},
                "name": {"type": "string", "description": "Such as b1. Not for `list`."},
                "input": {"type": "string", "description": "For `write`."},
                "wait_seconds": {"type": "number", "description": "Default 0, for `write` 0.5; at most 300."},
            },
            "required": ["action"],
            "additionalProperties": False,
        },
    )

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return the action and the name."""
        return f"{arguments.get('action', '')} {arguments.get('name', '')}".strip()[:120]

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Do the action and return the command's new output."""
        action, name = arguments.get("action"), arguments.get("name")
        if action == "list":
            return _list(toolbox)
        if action not in ACTIONS:
            return ToolResult(f"`action` must be one of {', '.join(ACTIONS)}", ok=False)
        one = toolbox.background.find(name) if isinstance(name, str) else None
        if one is None:
            return ToolResult(f"There is no command {name!r:.60} in the background.", ok=False)
        default = 0.0
        if action == "write":
            text = arguments.get("input")
            if not isinstance(text, str):
                return ToolResult("`input` must be a string", ok=False)
            if one.running is not None:
                await one.running.write(text.encode("utf-8", "replace"))
            default = WRITE_SECONDS
        if action == "stop":
            if one.running is not None:
                await one.running.stop(STOP_SECONDS)
            await one.wait(toolbox.seconds_left())
        else:
            wanted = seconds_of(arguments.get("wait_seconds"), least=0.0)
            patience = default if wanted is None else min(wanted, MAX_WAIT_SECONDS)
            await one.wait(min(patience, toolbox.seconds_left()))
        return _told(one, toolbox)


def _told(one: Ongoing, toolbox: Toolbox) -> ToolResult:
    if one.result is None:
        return standing(one, toolbox, f"[{one.name} is running]")
    return ended(one, one.result, toolbox)


def _list(toolbox: Toolbox) -> ToolResult:
    lines = [
        f"{one.name} ({'running' if one.result is None else f'ended, exit {one.result.exit_code}'}): "
        f"{one.command.text.strip().splitlines()[0][:100]}"
        for one in toolbox.background.all()
    ]
    return ToolResult("\n".join(lines) or "Nothing is in the background.")
