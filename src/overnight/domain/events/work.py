"""What happened to the workspace: commands, files, checkpoints, proposals."""

from typing import Literal

from overnight.domain.events.base import EventBase

SERVICE = "service-"
"""How the `command_id` of a service begins: it runs beside other commands, and ends with its sandbox."""


class CommandStarted(EventBase, tag="command.started", frozen=True, kw_only=True):
    """A command begins. `purpose` is `agent`, `setup`, `start`, `service`, `check` or `locate`."""

    command_id: str
    command: str
    purpose: str = "agent"


class CommandOutput(EventBase, tag="command.output", frozen=True, kw_only=True):
    """A piece of what a command printed, decoded leniently."""

    command_id: str
    stream: Literal["stdout", "stderr"]
    text: str


class CommandEnded(EventBase, tag="command.ended", frozen=True, kw_only=True):
    """A command's end. `exit_code` is negative for a signal; `limit` names the limit that ended it."""

    command_id: str
    exit_code: int
    seconds: float
    limit: str | None = None


class WentToBackground(EventBase, tag="command.backgrounded", frozen=True, kw_only=True):
    """A command goes on while the agent does other things, which knows it by `name`."""

    command_id: str
    name: str


class FileChanged(EventBase, tag="file.changed", frozen=True, kw_only=True):
    """A file of the workspace differs from what it was a step ago."""

    path: str
    change: Literal["added", "modified", "deleted"]
    added: int = 0
    removed: int = 0


class CheckpointCreated(EventBase, tag="checkpoint.created", frozen=True, kw_only=True):
    """The workspace's files after `step` are kept under `digest`."""

    step: int
    digest: str
    bytes: int = 0


class HomeKept(EventBase, tag="home.kept", frozen=True, kw_only=True):
    """What an agent's program needs to take its session up after `step` is kept under `digest`.

    Without one it could not be kept from this step on.
    """

    step: int
    digest: str
    bytes: int = 0


class SessionResumed(EventBase, tag="session.resumed", frozen=True, kw_only=True):
    """An agent's program goes on after `step`: `native`, it took its own session up; `replayed`, it was given
    the conversation so far as text."""

    step: int
    how: Literal["native", "replayed"]


class ProposalMade(EventBase, tag="proposal.made", frozen=True, kw_only=True):
    """`repair` took an edit from the model. Rejected ones say why."""

    step: int
    path: str
    target: str
    """The function or region that the edit replaces."""
    view: str
    """How the code was shown to the model."""
    temperature: float
    rejected: str = ""


class ProposalChecked(EventBase, tag="proposal.checked", frozen=True, kw_only=True):
    """A proposal's checks in the workspace: how many tests pass and fail now, and whether it is kept."""

    step: int
    path: str
    target: str
    passed: int
    failed: int
    kept: bool
