"""Carrying a change from one base commit to another: a three-way merge inside the mirror, markers and all."""

from collections.abc import Sequence

import msgspec

from overnight.domain.errors import GitError
from overnight.domain.patch import FileChange
from overnight.git.commit import AUTHOR_EMAIL, AUTHOR_NAME, commit_changes, drop_branch
from overnight.git.mirror import Mirror
from overnight.git.objects import changed_files, tree_of
from overnight.git.run import decode, run_git

_WHEN = "1000000000 +0000"
"""A fixed time, so that the same change always makes the same commits."""


class Carried(msgspec.Struct, frozen=True):
    """A change as it is over another base. `conflicts` are paths where both changed the same."""

    changes: tuple[FileChange, ...]
    conflicts: tuple[str, ...] = ()


async def carry_over(mirror: Mirror, old: str, changes: Sequence[FileChange], new: str, name: str) -> Carried:
    """Merge `changes`, made over the commit `old`, with the commit `new`; return them over `new`.

    Only contents count, not how the commits hang together: a base that was rebased is as good as one that
    moved on. Text that conflicts has markers in it; other conflicts keep one of the versions. `name` makes up
    a branch (`overnight/…`) that is gone again afterwards. No person's repository is touched.

    Raises:
        PatchError: the change has paths or modes that no commit may have.
        GitError: a commit is not in the mirror, or git failed.
    """
    if not changes:
        return Carried(())
    made = await commit_changes(mirror, old, changes, "carried", name, at=1)
    await drop_branch(mirror, name, made)
    base = await _commit(mirror, await tree_of(mirror, old))
    theirs = await _commit(mirror, await tree_of(mirror, new), base)
    ours = await _commit(mirror, await tree_of(mirror, made), base)
    options = ("--write-tree", "-z", "--name-only", "--no-messages")
    answer = await run_git("merge-tree", *options, theirs, ours, git_dir=mirror.path, accept=(0, 1))
    tree, *conflicts = [decode(part) for part in answer.stdout.split(b"\0") if part]
    if answer.code == 1 and not conflicts:
        raise GitError("git merge-tree did not say what conflicts")
    names = {theirs: f"the base at {new[:12]}", ours: "your changes"}
    paths = tuple(dict.fromkeys(conflicts))
    return Carried(
        tuple(_named(change, names, paths) for change in await changed_files(mirror, new, tree)), paths
    )


def _named(change: FileChange, names: dict[str, str], conflicts: Sequence[str]) -> FileChange:
    """Say in conflict markers whose side is whose: git puts the ids there that it was given."""
    if change.content is None or change.path not in conflicts:
        return change
    content = change.content
    for commit, name in names.items():
        content = content.replace(commit.encode(), name.encode())
    return msgspec.structs.replace(change, content=content)


async def _commit(mirror: Mirror, tree: str, *parents: str) -> str:
    options = [word for parent in parents for word in ("-p", parent)]
    identity = {"NAME": AUTHOR_NAME, "EMAIL": AUTHOR_EMAIL, "DATE": _WHEN}
    who = ("AUTHOR", "COMMITTER")
    made = await run_git(
        "commit-tree", tree, *options, "-F", "-",
        git_dir=mirror.path, stdin=b"carried\n",
        variables={f"GIT_{one}_{key}": value for one in who for key, value in identity.items()},
    )  # fmt: skip
    return made.text
