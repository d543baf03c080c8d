"""The seam of every tool, and what a tool may touch."""

import json
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Protocol, cast

import msgspec

from overnight.agents.codemap.code_map import CodeMap
from overnight.domain.conversation import ToolSpec
from overnight.domain.events import CommandEnded, CommandOutput, CommandStarted, LimitHit
from overnight.domain.ids import new_id, short
from overnight.domain.ports import EventSink
from overnight.environments.interface import Workspace
from overnight.sandbox.interface import Command, CommandResult, Sandbox, Stream

MAX_RESULT_CHARACTERS = 10_000
"""What a model sees of one result; more is cut out of the middle."""


class Toolbox(msgspec.Struct, frozen=True):
    """What tools work with."""

    workspace: Workspace
    sandbox: Sandbox
    events: EventSink
    protected: tuple[str, ...] = ()
    base_paths: frozenset[str] = frozenset()
    """The files of the base commit; a test that the agent added is its own to change."""
    seconds_left: Callable[[], float] = lambda: inf
    """What a command may take now, whatever the model asks for."""
    code: CodeMap | None = None
    """What is defined where."""

    async def run(self, command: Command, purpose: str = "agent") -> CommandResult:
        """Run a command in the sandbox and record it as events, output included."""
        command_id = short(new_id())
        left = self.seconds_left()
        bound = left if command.seconds is None else min(command.seconds, left)
        command = msgspec.structs.replace(command, seconds=bound if bound < inf else None)
        self.events.emit(CommandStarted(command_id=command_id, command=command.text, purpose=purpose))

        def on_output(stream: Stream, data: bytes) -> None:
            text = data.decode("utf-8", "replace")
            self.events.emit(CommandOutput(command_id=command_id, stream=stream, text=text))

        result = await self.sandbox.run(command, on_output)
        self.events.emit(
            CommandEnded(
                command_id=command_id,
                exit_code=result.exit_code,
                seconds=round(result.seconds, 3),
                limit=result.limit,
            )
        )
        if result.limit is not None:
            self.events.emit(LimitHit(limit=result.limit, detail=command.text[:200]))
        return result


class ToolResult(msgspec.Struct, frozen=True):
    """What the model gets back, and one line for people."""

    text: str
    ok: bool = True
    summary: str = ""


class Tool(Protocol):
    """One thing a model can do."""

    spec: ToolSpec

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return one line for people that says what the call is about to do."""
        ...

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Do it. What the model did wrong is a result with `ok=False`, never an exception."""
        ...


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call as an object, or None when the model wrote something else."""
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def cut_middle(text: str, limit: int = MAX_RESULT_CHARACTERS) -> str:
    """Return `text`, or its two ends with a line between that says how much is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
