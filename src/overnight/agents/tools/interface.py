"""The seam of every tool, and what a tool may touch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol, cast

import msgspec

from overnight.agents.codemap.code_map import CodeMap
from overnight.agents.tools.background import Background
from overnight.domain.conversation import Image, ToolSpec
from overnight.domain.errors import NotFoundError, OvernightError
from overnight.domain.events import (
    ArtifactKept,
    CommandEnded,
    CommandOutput,
    CommandStarted,
    LimitHit,
    PlanStep,
)
from overnight.domain.ids import new_id, short
from overnight.domain.limits import Limits
from overnight.domain.ports import Artifacts, EventSink
from overnight.environments.interface import Workspace
from overnight.sandbox.interface import Command, CommandResult, Sandbox, Stream

ARTIFACT = "artifact:"
"""How the path of an artifact begins, where a tool reads one."""
DIGITS = 12
"""So much of an artifact's digest names it."""


@dataclass(kw_only=True)
class Toolbox:
    """What tools work with."""

    workspace: Workspace
    sandbox: Sandbox
    events: EventSink
    artifacts: Artifacts
    limits: Limits = field(default_factory=Limits)
    protected: tuple[str, ...] = ()
    base_paths: frozenset[str] = frozenset()
    """The files of the base commit; a test that the agent added is its own to change."""
    seconds_left: Callable[[], float] = lambda: inf
    """What a command may take now, whatever the model asks for."""
    turn_seconds_left: Callable[[], float] = lambda: inf
    """What a command in the background may take."""
    step: Callable[[], int] = lambda: 0
    """The number of the step that goes on."""
    looks_at_images: bool = False
    """Whether the model does."""
    background: Background = field(init=False)
    code: CodeMap | None = None
    """What is defined where."""
    plan: tuple[PlanStep, ...] = ()
    """The plan as the agent stated it last."""
    kept: dict[str, str] = field(default_factory=dict[str, str])
    """The artifacts of this attempt, by the beginning of their digests: it may read no others."""

    def __post_init__(self) -> None:
        self.background = Background(self.sandbox, self.events, self.limits)

    async def run(self, command: Command, purpose: str = "agent") -> CommandResult:
        """Run a command in the sandbox and record it as events, output included."""
        command_id = short(new_id())
        command = self.bounded(command)
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

    def bounded(self, command: Command, *, background: bool = False) -> Command:
        """Return the command with no more time than the attempt has."""
        left = self.turn_seconds_left() if background else self.seconds_left()
        bound = left if command.seconds is None else min(command.seconds, left)
        return msgspec.structs.replace(command, seconds=bound if bound < inf else None)

    def shown(self, text: str, what: str) -> str:
        """Return what the model sees of `text`; where that is not all, the whole is kept as an artifact."""
        limit = self.limits.result_characters
        if len(text) <= limit:
            return text
        content = text.encode("utf-8", "replace")
        name = self.keep(content, what)
        self.events.emit(
            LimitHit(limit="result_characters", detail=f"{len(text)} of {limit}, all kept as {name}")
        )
        return cut_middle(text, limit, f"; read {name} has all")

    def keep(self, content: bytes, what: str) -> str:
        """Keep an artifact and return its name.

        Raises:
            OvernightError: it holds a secret, or cannot be written.
        """
        digest = self.artifacts.put(content)
        self.kept[digest[:DIGITS]] = digest
        kept = ArtifactKept(step=self.step(), digest=digest, size=len(content), what=what[:200])
        self.events.emit(kept)
        return f"{ARTIFACT}{digest[:DIGITS]}"

    def artifact(self, name: str) -> bytes:
        """Return an artifact of this attempt.

        Raises:
            NotFoundError: there is none of that name.
        """
        digest = self.kept.get(name.removeprefix(ARTIFACT)[:DIGITS])
        if digest is None:
            raise NotFoundError(f"{name}: there is no such artifact", "Its name stands where it was cut.")
        return self.artifacts.get(digest)


class ToolResult(msgspec.Struct, frozen=True):
    """What the model gets back, and one line for people."""

    text: str
    ok: bool = True
    summary: str = ""
    images: tuple[Image, ...] = ()
    question: str = ""
    """What a person is asked; then the call has no result until they answer."""
    choices: tuple[str, ...] = ()


class Tool(Protocol):
    """One thing a model can do. With a `raw_argument`, bare text in place of JSON is that argument."""

    spec: ToolSpec
    read_only: bool
    """Whether it changes nothing, so that several may run at the same time."""

    def summary(self, arguments: Mapping[str, Any]) -> str:
        """Return one line for people that says what the call is about to do."""
        ...

    async def run(self, arguments: Mapping[str, Any], toolbox: Toolbox) -> ToolResult:
        """Do it. What the model did wrong is a result with `ok=False`, never an exception."""
        ...


def refusal(error: OvernightError) -> ToolResult:
    """Return an error as the model is told it."""
    return ToolResult("\n".join(part for part in (error.message, error.hint) if part), ok=False)


def parse_arguments(text: str, raw_argument: str = "") -> dict[str, Any] | None:
    """Return the arguments of a call as an object, or None when the model wrote something else.

    Line breaks inside of strings are forgiven; halves of surrogate pairs become question marks.
    """
    if raw_argument and text.lstrip().startswith("***"):
        return {raw_argument: text}
    try:
        parsed = json.loads(text or "{}", strict=False)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    found = cast("dict[str, Any]", parsed)
    return {name: _whole(value) for name, value in found.items()}


def _whole(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def cut_middle(text: str, limit: int, note: str = "") -> str:
    """Return `text`, or its two ends with a line between that says how much is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out{note} …\n{text[-half:]}"
