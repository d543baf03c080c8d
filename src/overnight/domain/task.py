"""Task, attempt and turn: what was asked, who works on it, and how it stands."""

import msgspec

from overnight.domain.limits import Limits
from overnight.domain.network import Blocked, Network
from overnight.domain.states import TaskState, TurnState
from overnight.domain.verdict import Verdict


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the model cost so far.

    `input_tokens` includes `cached_tokens`, `output_tokens` includes `reasoning_tokens`. `cost_usd` is that
    of the calls whose price is known: a lower bound where `unpriced_calls` is not 0.
    """

    model_calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            model_calls=self.model_calls + other.model_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
        )

    @property
    def cost(self) -> str:
        """What it cost, in words: says so where a price is not known; empty where nothing is charged."""
        if not self.unpriced_calls:
            return f"{self.cost_usd:.4f} USD" if self.cost_usd else ""
        if not self.cost_usd:
            return "cost unknown: no price is known"
        return f"at least {self.cost_usd:.4f} USD: no price is known for {self.unpriced_calls} of the calls"


class PatchStats(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a patch. `commit` lies on `branch` in the mirror; `digest` names the diff's blob."""

    commit: str
    branch: str
    digest: str
    files: tuple[str, ...] = ()
    added: int = 0
    removed: int = 0


class Seconds(msgspec.Struct, frozen=True, kw_only=True):
    """Where an attempt's time went."""

    queued: float = 0.0
    prepare: float = 0.0
    work: float = 0.0
    verify: float = 0.0


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that Overnight mirrors. `origin` is a URL or an absolute path."""

    id: str
    origin: str
    created_at: float


def title_of(text: str) -> str:
    """Return the first line of what somebody asked, at most 72 characters."""
    first = text.strip().splitlines()[0].strip() if text.strip() else "(empty)"
    return first if len(first) <= 72 else first[:71].rstrip() + "…"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, on one repository at one base commit."""

    id: str
    repository_id: str
    prompt: str
    base_ref: str
    base_commit: str
    state: TaskState
    checks: tuple[str, ...] = ()
    """Commands given by `--check`; empty means those of the environment."""
    verify: bool = True
    allow_test_changes: bool = False
    lend_setup_secrets: bool = False
    """A person's word that the code of this commit may see the setup's secrets."""
    sandbox: str = "auto"
    limits: Limits = Limits()
    network: Network = Network()
    """What the person granted; nothing by default."""
    created_at: float
    picked: str | None = None
    """The attempt that was picked, if any."""

    @property
    def title(self) -> str:
        """The first line of the prompt, at most 72 characters."""
        return title_of(self.prompt)

    def seen_by(self, attempt: "Attempt") -> "Task":
        """Return the task with the base, limits and network that one of its attempts has."""
        base = attempt.base_commit or self.base_commit
        return msgspec.structs.replace(
            self,
            base_commit=base,
            # A person's word is for one commit's code.
            lend_setup_secrets=self.lend_setup_secrets and base == self.base_commit,
            limits=attempt.limits or self.limits,
            network=attempt.network or self.network,
        )


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message from a person and the work until the agent hands back; once ended it never changes."""

    number: int
    state: TurnState
    prompt: str = ""
    """What was asked; empty for the first turn, which was asked what the task says."""
    message: str = ""
    """What the agent said at the end, what it asks, or why it failed."""
    base_commit: str = ""
    """Empty: the task's."""
    patch: PatchStats | None = None
    verdict: Verdict | None = None
    created_at: float
    ended_at: float | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One agent working on a task, alone. State, patch and verdict are those of its last turn."""

    id: str
    task_id: str
    number: int
    agent: str
    model: str
    state: TurnState
    turn: int = 1
    """The number of its last turn."""
    prompt: str = ""
    """What its last turn was asked; empty for the first one."""
    message: str = ""
    """What the agent said at the end of the turn, what it asks, or why it failed."""
    base_commit: str = ""
    """That of its last turn; empty: the task's."""
    patch: PatchStats | None = None
    verdict: Verdict | None = None
    usage: Usage = Usage()
    seconds: Seconds = Seconds()
    blocked: tuple[Blocked, ...] = ()
    """What it asked of the network and was refused."""
    forked_from: str | None = None
    """The attempt that this one begins from: conversation and files as they were after `fork_step`."""
    fork_step: int = 0
    superseded_by: str | None = None
    """The attempt that took its place."""
    limits: Limits | None = None
    """Its own limits; None: the task's."""
    network: Network | None = None
    created_at: float
    turn_created_at: float = 0.0
    ended_at: float | None = None


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A pull request on a forge. The local forge numbers them per data directory, from 1."""

    number: int
    task_id: str
    attempt_id: str
    repository_id: str
    forge: str
    branch: str
    base_ref: str
    base_commit: str
    head_commit: str
    title: str
    body: str
    state: str
    """open | merged | closed"""
    created_at: float
    merged_commit: str | None = None
