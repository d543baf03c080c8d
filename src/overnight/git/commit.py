"""Writing an attempt's patch as a commit in the mirror, at a cost of what was changed."""

import re
from collections.abc import Collection, Sequence

from overnight.domain.errors import GitError, PatchError, UsageError
from overnight.domain.patch import FileChange
from overnight.git.mirror import Mirror
from overnight.git.objects import tree_of
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
    parent: str | None = None,
    merged: bool = False,
) -> str:
    """Commit `changes` over the files of `base`, point `branch` at the commit and return its id.

    Its parent is `base`, or `parent` if given: an earlier commit of the same patch. With `merged` that one
    stood on another base, and `base` becomes a second parent.

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
    beginning = b"from " + encode(parent or base) + b"\n"
    if parent is not None:
        beginning += b"merge " + encode(base) + b"\n" if merged else b""
        # The files are those of the base, whatever the parent had.
        beginning += b'M 040000 %s ""\n' % encode(await tree_of(mirror, base))
    stream = _stream(
        beginning, ordered, _message(message), branch, f"{_plain(author_name)} <{_plain(author_email)}>", at
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


async def advance_branch(mirror: Mirror, branch: str, commit: str, earlier: Collection[str]) -> bool:
    """Move one of our branches to `commit` if it stands at one of `earlier`, or is not there yet.

    Returns whether it stands at `commit` now.
    """
    check_branch(branch)
    stands = await mirror.branch_commit(branch)
    if stands == commit:
        return True
    if stands is not None and stands not in earlier:
        return False
    # Compare and swap: whoever moved it meanwhile knows better.
    answer = await run_git(
        "update-ref", f"refs/heads/{branch}", commit, stands or "0" * len(commit),
        git_dir=mirror.path, accept=(0, 1, 128),
    )  # fmt: skip
    return answer.code == 0


async def drop_branch(mirror: Mirror, branch: str, commit: str) -> None:
    """Remove one of our branches if it stands at `commit`; missing is fine."""
    check_branch(branch)
    await run_git("update-ref", "-d", f"refs/heads/{branch}", commit, git_dir=mirror.path, accept=(0, 1, 128))


def _stream(
    beginning: bytes, changes: Sequence[FileChange], message: bytes, branch: str, author: str, at: float
) -> bytes:
    """Return the commands for fast-import. Deletions come first, so a file may become a directory."""
    identity = encode(f"{author} {int(at)} +0000\n")
    parts = [
        b"feature done\n",
        b"commit refs/heads/" + branch.encode() + b"\nmark :1\n",
        b"author " + identity,
        b"committer " + identity,
        b"data %d\n" % len(message) + message + b"\n",
        beginning,
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
