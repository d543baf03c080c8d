"""Events: immutable facts about an attempt, in one tagged union."""

import msgspec

from overnight.domain.events.attempt import (
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    Heartbeat,
    LimitHit,
    Noted,
    Phase,
    PhaseChanged,
    PolicyBlocked,
    StepEnded,
    StepStarted,
    UsageUpdated,
)
from overnight.domain.events.conversation import (
    ArtifactKept,
    ContextCompacted,
    MessageAdded,
    MessageDelta,
    ModelCalled,
    ModelWaiting,
    PlanStep,
    PlanUpdated,
    QuestionAsked,
    StuckNoticed,
    ToolCallEnded,
    ToolCallStarted,
)
from overnight.domain.events.network import NetworkAllowed, NetworkBlocked
from overnight.domain.events.outcome import (
    CheckCompleted,
    CheckStarted,
    PatchReady,
    PullRequestOpened,
    VerdictReached,
)
from overnight.domain.events.work import (
    SERVICE,
    CheckpointCreated,
    CommandEnded,
    CommandOutput,
    CommandStarted,
    FileChanged,
    ProposalChecked,
    ProposalMade,
    WentToBackground,
)

Event = (
    AttemptStarted
    | PhaseChanged
    | StepStarted
    | StepEnded
    | UsageUpdated
    | Heartbeat
    | Noted
    | LimitHit
    | PolicyBlocked
    | NetworkAllowed
    | NetworkBlocked
    | AttemptFailed
    | AttemptEnded
    | MessageDelta
    | MessageAdded
    | ModelCalled
    | ModelWaiting
    | ToolCallStarted
    | ToolCallEnded
    | ArtifactKept
    | PlanUpdated
    | QuestionAsked
    | StuckNoticed
    | ContextCompacted
    | CommandStarted
    | CommandOutput
    | CommandEnded
    | WentToBackground
    | FileChanged
    | CheckpointCreated
    | ProposalMade
    | ProposalChecked
    | CheckStarted
    | CheckCompleted
    | PatchReady
    | VerdictReached
    | PullRequestOpened
)


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the log holds it: `seq` counts from 1 without gaps, `at` is seconds since the epoch."""

    seq: int
    at: float
    event: Event


__all__ = [
    "SERVICE",
    "ArtifactKept",
    "AttemptEnded",
    "AttemptFailed",
    "AttemptStarted",
    "CheckCompleted",
    "CheckStarted",
    "CheckpointCreated",
    "CommandEnded",
    "CommandOutput",
    "CommandStarted",
    "ContextCompacted",
    "Event",
    "FileChanged",
    "Heartbeat",
    "LimitHit",
    "MessageAdded",
    "MessageDelta",
    "ModelCalled",
    "ModelWaiting",
    "NetworkAllowed",
    "NetworkBlocked",
    "Noted",
    "PatchReady",
    "Phase",
    "PhaseChanged",
    "PlanStep",
    "PlanUpdated",
    "PolicyBlocked",
    "ProposalChecked",
    "ProposalMade",
    "PullRequestOpened",
    "QuestionAsked",
    "Recorded",
    "StepEnded",
    "StepStarted",
    "StuckNoticed",
    "ToolCallEnded",
    "ToolCallStarted",
    "UsageUpdated",
    "VerdictReached",
    "WentToBackground",
]
