"""The forge that every machine has: branches in the mirror, merged into the person's own repository."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.task import PullRequest
from overnight.git.apply import contains, merge_into_checkout
from overnight.git.mirror import Mirror


class LocalForge(msgspec.Struct, frozen=True):
    """A forge for one repository. `checkout` is where to merge; by default the mirror's origin, if a path."""

    mirror: Mirror
    user: Mapping[str, str]
    """The person's environment: merging is done in their name and with their config."""
    checkout: Path | None = None

    @property
    def name(self) -> str:
        """Return "local"."""
        return "local"

    async def open(self, draft: PullRequest) -> PullRequest:
        """Check that the branch stands at the draft's head, and return the draft as open."""
        commit = await self.mirror.branch_commit(draft.branch)
        if commit is None:
            raise UsageError(f"there is no branch {draft.branch}")
        if commit != draft.head_commit:
            raise ConflictError(f"{draft.branch} moved: it is at {commit[:12]}, not {draft.head_commit[:12]}")
        return msgspec.structs.replace(draft, forge=self.name, state="open")

    async def view(self, pull: PullRequest) -> PullRequest:
        """Return it as merged if the person merged the branch by themselves."""
        target = self._target()
        if pull.state != "open" or target is None:
            return pull
        tip = await contains(target, pull.base_ref, pull.head_commit, user=self.user)
        if tip is None:
            return pull
        return msgspec.structs.replace(pull, state="merged", merged_commit=tip)

    async def merge(self, pull: PullRequest, *, at: float) -> PullRequest:
        """Merge the branch into the base branch of the person's repository."""
        if pull.state == "merged":
            return pull
        if pull.state != "open":
            raise UsageError(f"pull request {pull.number} is {pull.state}")
        target = self._target()
        if target is None:
            raise UsageError(
                f"{self.mirror.origin.location} is not on this machine",
                "name your checkout with --repo, or push the branch after `overnight task checkout`",
            )
        merged = await merge_into_checkout(
            target,
            self.mirror,
            pull.branch,
            pull.base_ref,
            message=f"Merge pull request {pull.number}: {pull.title}",
            user=self.user,
            at=at,
            expected=pull.head_commit,
        )
        return msgspec.structs.replace(pull, state="merged", merged_commit=merged.commit)

    def _target(self) -> Path | None:
        return self.checkout or self.mirror.origin.path
