"""Events: immutable facts about an attempt, in one tagged union."""

import msgspec

from overnight.domain.events.attempt import (
    AttemptEnded,
    AttemptFailed,
    AttemptForked,
    AttemptStarted,
    AttemptWaiting,
    CommandAccepted,
    CommandRefused,
    Heartbeat,
    LimitHit,
    Noted,
    Phase,
    PhaseChanged,
    PolicyBlocked,
    StepEnded,
    StepStarted,
    TurnStarted,
    UsageUpdated,
)
from overnight.domain.events.conversation import (
    ArtifactKept,
    ContextCompacted,
    MessageAdded,
    MessageDelta,
    ModelCalled,
    ModelOpened,
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
    PullRequestUpdated,
    VerdictReached,
)
from overnight.domain.events.work import (
    SERVICE,
    CheckpointCreated,
    CommandEnded,
    CommandOutput,
    CommandStarted,
    FileChanged,
    HomeKept,
    ProposalChecked,
    ProposalMade,
    SessionResumed,
    WentToBackground,
)

Event = (
    AttemptStarted
    | AttemptForked
    | TurnStarted
    | CommandAccepted
    | CommandRefused
    | AttemptWaiting
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
    | ModelOpened
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
    | HomeKept
    | SessionResumed
    | ProposalMade
    | ProposalChecked
    | CheckStarted
    | CheckCompleted
    | PatchReady
    | VerdictReached
    | PullRequestOpened
    | PullRequestUpdated
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
    "AttemptForked",
    "AttemptStarted",
    "AttemptWaiting",
    "CheckCompleted",
    "CheckStarted",
    "CheckpointCreated",
    "CommandAccepted",
    "CommandEnded",
    "CommandOutput",
    "CommandRefused",
    "CommandStarted",
    "ContextCompacted",
    "Event",
    "FileChanged",
    "Heartbeat",
    "HomeKept",
    "LimitHit",
    "MessageAdded",
    "MessageDelta",
    "ModelCalled",
    "ModelOpened",
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
    "PullRequestUpdated",
    "QuestionAsked",
    "Recorded",
    "SessionResumed",
    "StepEnded",
    "StepStarted",
    "StuckNoticed",
    "ToolCallEnded",
    "ToolCallStarted",
    "TurnStarted",
    "UsageUpdated",
    "VerdictReached",
    "WentToBackground",
]
