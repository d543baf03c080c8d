"""The seam of every agent: an assignment in, an outcome out; everything in between is events."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from overnight.agents.codemap.code_map import CodeMap
from overnight.domain.events import Event
from overnight.domain.limits import Limits
from overnight.domain.ports import Artifacts, Clock, EventSink, Inbox, Silence
from overnight.domain.task import Usage
from overnight.environments.interface import Workspace
from overnight.models.gateway.door import Door
from overnight.models.interface import Model
from overnight.sandbox.interface import Bind, Sandbox


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier turns used of steps, tokens and time: budgets are those of a turn."""

    steps: int = 0
    usage: Usage = Usage()
    seconds: float = 0.0


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """All that an agent is given."""

    prompt: str
    checks: tuple[str, ...]
    protected: tuple[str, ...]
    """Glob patterns of files that the agent must not change."""
    model: Model
    workspace: Workspace
    sandbox: Sandbox
    events: EventSink
    artifacts: Artifacts
    """Where goes what is too long for the log."""
    clock: Clock
    limits: Limits = Limits()
    network: str = ""
    """What commands may reach, in words; empty: nothing."""
    code: CodeMap | None = None
    """What is defined where, for a map in the first prompt and for looking names up."""
    number: int = 1
    """The attempt's number within its task, from 1: attempts of one task should differ."""
    seed: int = 0
    """Drawn once for the attempt, so that a task that is tried again is sampled anew."""
    history: Sequence[Event] = ()
    """The attempt's events so far, those of earlier turns and of what it was forked from included.

    Not empty when it is taken up again after its last finished step. Where a fork changed the agent, it is
    one `StepEnded` without a state: the files are there, the conversation begins anew.
    """
    turn: int = 1
    """Counts from 1; above, `inbox` holds what the turn was asked."""
    spent: Spent = Spent()
    door: Door | None = None
    """Where programs in the sandbox find the model, for agents whose equipment asks for it."""
    inbox: Inbox = Silence()
    """To be asked before every request to the model, and once more before handing back."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent says when it hands back. Verification does not believe it.

    With a `question` the attempt waits for a person's answer, with `reached` (a limit's name) for a person
    to raise that limit; then the agent is asked to work again, in this process or in another one.
    """

    summary: str
    usage: Usage = Usage()
    gave_up: bool = False
    question: str = ""
    choices: tuple[str, ...] = ()
    """Answers that the question offers; any other one is fine as well."""
    reached: str = ""


class Equipment(msgspec.Struct, frozen=True, kw_only=True):
    """What the sandbox of an agent needs besides the workspace."""

    binds: tuple[Bind, ...] = ()
    path: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    door: bool = False
    """Whether programs inside ask the model themselves."""


NOTHING = Equipment()
"""What built-in agents need."""


class Agent(Protocol):
    """Turns an assignment into edits of the workspace."""

    name: str

    @property
    def equipment(self) -> Equipment:
        """What its sandbox needs.

        Raises:
            UsageError: it is not installed.
        """
        ...

    async def work(self, assignment: Assignment) -> Outcome:
        """Work until done, out of ideas, or at a limit (an event and a normal return, no exception).

        The agent emits every step: `StepStarted`, messages, commands, file changes, a checkpoint where
        files changed, usage, `StepEnded` with the state it needs to go on from there.
        """
        ...
