"""What came of it: checks, verdict, patch, pull request."""

from typing import Literal

from overnight.domain.events.base import EventBase
from overnight.domain.task import PatchStats
from overnight.domain.verdict import Verdict


class CheckStarted(EventBase, tag="check.started", frozen=True, kw_only=True):
    """Verification runs a check in a clean workspace, without or with the patch."""

    command: str
    side: Literal["base", "candidate"]
    run: int = 1
    """1 for the first run; more are re-runs to tell flaky from broken."""


class CheckCompleted(EventBase, tag="check.completed", frozen=True, kw_only=True):
    """A check's end in a clean workspace."""

    command: str
    side: Literal["base", "candidate"]
    run: int
    passed: bool
    exit_code: int
    seconds: float
    tests_passed: int = 0
    tests_failed: int = 0
    cached: bool = False


class PatchReady(EventBase, tag="patch.ready", frozen=True, kw_only=True):
    """The attempt's change lies on its branch in the mirror."""

    patch: PatchStats


class VerdictReached(EventBase, tag="verdict.reached", frozen=True, kw_only=True):
    """Verification ended."""

    verdict: Verdict


class PullRequestUpdated(EventBase, tag="pull_request.updated", frozen=True, kw_only=True):
    """A later turn's patch is on the pull request's branch now."""

    number: int
    forge: str
    branch: str
    commit: str


class PullRequestOpened(EventBase, tag="pull_request.opened", frozen=True, kw_only=True):
    """A pull request stands."""

    number: int
    forge: str
    branch: str
    title: str
