"""The seam of every forge: where pull requests live."""

from typing import Protocol

from overnight.domain.task import PullRequest


class Forge(Protocol):
    """Takes and returns pull requests as values; keeping the records is for those who call."""

    @property
    def name(self) -> str:
        """Return the name that `PullRequest.forge` holds."""
        ...

    async def open(self, draft: PullRequest) -> PullRequest:
        """Open a pull request. A forge that numbers its own replaces the draft's number.

        Raises:
            UsageError: the branch is not there, or not at the draft's head commit.
        """
        ...

    async def view(self, pull: PullRequest) -> PullRequest:
        """Return the pull request as it stands now."""
        ...

    async def merge(self, pull: PullRequest, *, at: float) -> PullRequest:
        """Merge it and return it. Merging a merged one changes nothing. `at` is in seconds since the epoch.

        Raises:
            ConflictError: it cannot be merged without losing somebody's work; nothing was changed.
            UsageError: it is closed, or its base branch is gone.
        """
        ...
