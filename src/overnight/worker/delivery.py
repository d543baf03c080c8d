"""What a person takes away: a patch in their checkout, a branch, a pull request, a merge."""

from collections.abc import Mapping
from pathlib import Path

from overnight.domain.errors import UsageError
from overnight.domain.ports import Redaction
from overnight.domain.task import Attempt, PullRequest, Task
from overnight.forges.local import LocalForge
from overnight.git.apply import apply_to_checkout, checkout_branch
from overnight.git.mirror import Mirror
from overnight.store import pull_requests, tasks
from overnight.store.database import Database
from overnight.worker.conclude import open_pull_request


def checkout_of(mirror: Mirror, repo: Path | None) -> Path:
    """Return the person's checkout: the one named, else the path that the task came from.

    Raises:
        UsageError: the task came from a URL, and no checkout was named.
    """
    target = repo.absolute() if repo is not None else mirror.origin.path
    if target is None:
        raise UsageError(
            f"{mirror.origin.location} is not on this machine", "Name your checkout: --repo PATH"
        )
    return target


async def apply(
    mirror: Mirror, task: Task, attempt: Attempt, repo: Path | None, user: Mapping[str, str]
) -> Path:
    """Put the attempt's patch into a checkout, uncommitted, all of it or nothing; return where."""
    assert attempt.patch is not None
    target = checkout_of(mirror, repo)
    base = task.seen_by(attempt).base_commit
    await apply_to_checkout(target, mirror, base, attempt.patch.commit, user=user)
    return target


async def checkout(mirror: Mirror, attempt: Attempt, repo: Path | None, user: Mapping[str, str]) -> Path:
    """Switch a checkout to the attempt's branch; return where."""
    assert attempt.patch is not None
    target = checkout_of(mirror, repo)
    await checkout_branch(target, mirror, attempt.patch.branch, user=user)
    return target


async def publish(
    database: Database, task: Task, attempt: Attempt, now: float, redaction: Redaction
) -> PullRequest:
    """Open a pull request by a person's decision, whatever the verdict: its body says what was found.

    Raises:
        UsageError: the attempt has no patch.
    """
    if attempt.patch is None:
        raise UsageError("This attempt has no patch to publish")
    request = await database.tx(lambda conn: open_pull_request(conn, task, attempt, now, redaction))
    await database.tx(lambda conn: tasks.set_picked(conn, task.id, attempt.id))
    return request


async def merge(
    database: Database, mirror: Mirror, request: PullRequest, user: Mapping[str, str], now: float
) -> PullRequest:
    """Merge into the person's repository and record it.

    Raises:
        ConflictError: it cannot be merged without losing work; nothing changed.
    """
    merged = await LocalForge(mirror, user).merge(request, at=now)
    await database.tx(lambda conn: pull_requests.set_merged(conn, merged.number, merged.merged_commit or ""))
    return merged
