"""Writing an attempt's patch as a commit in the mirror, at a cost of what was changed."""

import re
from collections.abc import Sequence

from overnight.domain.errors import GitError, PatchError, UsageError
from overnight.domain.patch import FileChange
from overnight.git.mirror import Mirror
from overnight.git.paths import check_changes
from overnight.git.run import decode, encode, run_git

AUTHOR_NAME = "Overnight"
AUTHOR_EMAIL = "overnight@localhost"
_BRANCH = re.compile(r"overnight/[a-z0-9-]{1,100}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def check_branch(branch: str) -> None:
    """Raise `UsageError` unless the name is one of ours: it may reach shells and URLs later."""
    if not _BRANCH.fullmatch(branch):
        raise UsageError(
            f"not a branch of Overnight: {branch[:120]!r}", "they look like overnight/words-1a2b3c4d"
        )


async def commit_changes(
    mirror: Mirror,
    base: str,
    changes: Sequence[FileChange],
    message: str,
    branch: str,
    *,
    author_name: str = AUTHOR_NAME,
    author_email: str = AUTHOR_EMAIL,
    at: float,
) -> str:
    """Commit `changes` on top of `base`, point `branch` at the commit and return its id.

    The same arguments always give the same commit, so it may be repeated after a crash. A branch that
    already stands elsewhere is moved: a later turn replaces the patch. `at` is in seconds since the epoch.
    Everything is checked before git sees it, and git publishes objects and branch at its end, or nothing.

    Raises:
        PatchError: there is nothing to commit, or a path or mode must not be written.
        UsageError: the branch is not one of ours.
        GitError: the base is not in the mirror, or git failed.
    """
    check_branch(branch)
    ordered = sorted(changes, key=lambda change: (change.content is not None, change.path))
    check_changes(ordered)
    if not ordered:
        raise PatchError("there is nothing to commit")
    if not _COMMIT.fullmatch(base) or not base.strip("0"):  # fast-import takes zeros for "no parent"
        raise GitError(f"not a full commit id: {base[:80]!r}")
    stream = _stream(
        base, ordered, _message(message), branch, f"{_plain(author_name)} <{_plain(author_email)}>", at
    )
    answer = await run_git(
        "fast-import",
        "--quiet",
        "--force",
        "--done",
        "--date-format=raw",
        git_dir=mirror.path,
        # A branch must not outlive its objects when the power goes.
        config=("core.fsync=committed", "core.fsyncMethod=batch", "core.packedRefsTimeout=10000"),
        stdin=stream,
    )
    commit = decode(answer.stdout).strip()
    if not _COMMIT.fullmatch(commit):
        raise GitError("git fast-import did not say which commit it made")
    return commit


def _stream(
    base: str, changes: Sequence[FileChange], message: bytes, branch: str, author: str, at: float
) -> bytes:
    """Return the commands for fast-import. Deletions come first, so a file may become a directory."""
    identity = encode(f"{author} {int(at)} +0000\n")
    parts = [
        b"feature done\n",
        b"commit refs/heads/" + branch.encode() + b"\nmark :1\n",
        b"author " + identity,
        b"committer " + identity,
        b"data %d\n" % len(message) + message + b"\n",
        b"from " + base.encode() + b"\n",
    ]
    for change in changes:
        path = encode('"' + change.path.replace("\\", "\\\\").replace('"', '\\"') + '"\n')
        if change.content is None:
            parts.append(b"D " + path)
        else:
            parts.append(b"M %o inline " % change.mode + path)
            parts.append(b"data %d\n" % len(change.content) + change.content + b"\n")
    parts.append(b"\nget-mark :1\ndone\n")
    return b"".join(parts)


def _message(text: str) -> bytes:
    """A message is the model's or the task's text: keep it readable, drop what terminals obey."""
    kept = "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160))
    return encode((kept.strip() or "Change by Overnight") + "\n")


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable() and c not in "<>").strip() or AUTHOR_NAME
