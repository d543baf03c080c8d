"""Writing a commit's whole tree into a folder that becomes the read-only base of workspaces."""

import asyncio
import hashlib
import os
import struct
import time
from pathlib import Path

from overnight.domain.errors import GitError
from overnight.git.commit import AUTHOR_EMAIL, AUTHOR_NAME
from overnight.git.mirror import TAGS, Mirror
from overnight.git.run import run_git

SANDBOX_OBJECTS = "/overnight/objects"
"""Where a sandbox must show `<mirror>/objects`, read-only: the checkout's git borrows its objects there."""

CHECKOUT_SECONDS = 1800.0
PROTECTION = ("core.protectHFS=true", "core.protectNTFS=true", "index.version=2")
"""Settings for every index we make: no path that another file system takes for `.git`."""
_OLDEST = 315_619_200  # 2 January 1980: zip archives know no earlier time
_SETTLED = 10  # seconds; more than the two that git needs to trust an index entry

# Owner, inode and change time differ between here and the sandbox: git must not look at them.
CONFIG = f"""\
[core]
\trepositoryformatversion = 0
\tbare = false
\tfilemode = true
\tlogallrefupdates = true
\tcheckStat = minimal
\ttrustctime = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[advice]
\tdetachedHead = false
[user]
\tname = {AUTHOR_NAME}
\temail = {AUTHOR_EMAIL}
"""


async def materialize(mirror: Mirror, commit: str, destination: Path, branch: str | None = None) -> None:
    """Write the tree of `commit` at `destination`, with a `.git` that works in a sandbox.

    HEAD is detached at the commit, or on `branch`, which is then made. The sandbox must show the mirror's
    `objects` folder at `SANDBOX_OBJECTS`. No hook, filter or submodule fetch runs: files that a
    `.gitattributes` gives to a filter (LFS) stay as they are stored. Every file's time is the commit's, and
    the index agrees with it, so `git status` reads no contents. After this no git may run there on the host.

    Raises:
        GitError: `destination` is not empty, or the commit is not in the mirror or cannot be written.
    """
    if destination.exists() and any(destination.iterdir()):
        raise GitError(f"the folder for the checkout is not empty: {destination}")
    git_dir = destination / ".git"
    _lay_out(git_dir, commit, branch)
    if mirror.shallow():
        (git_dir / "shallow").write_bytes((mirror.path / "shallow").read_bytes())
    _, when, tags = await asyncio.gather(
        run_git(
            f"--work-tree={destination}",
            "read-tree",
            "--reset",
            "-u",
            commit,
            git_dir=git_dir,
            directory=destination,
            variables={"GIT_OBJECT_DIRECTORY": str(mirror.path / "objects")},
            config=(*PROTECTION, "checkout.workers=0"),
            seconds=CHECKOUT_SECONDS,
        ),
        commit_time(mirror, commit),
        packed_refs(mirror, commit),
    )
    (git_dir / "packed-refs").write_bytes(tags)
    # Only now: on the host the path does not exist, and git would complain.
    (git_dir / "objects/info/alternates").write_text(SANDBOX_OBJECTS + "\n")
    await asyncio.to_thread(settle, destination, when)


def _lay_out(git_dir: Path, commit: str, branch: str | None) -> None:
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (git_dir / folder).mkdir(parents=True)
    (git_dir / "config").write_text(CONFIG)
    if branch is None:
        (git_dir / "HEAD").write_text(f"{commit}\n")
        return
    reference = git_dir / "refs/heads" / branch
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(f"{commit}\n")
    (git_dir / "HEAD").write_text(f"ref: refs/heads/{branch}\n")


async def commit_time(mirror: Mirror, commit: str) -> int:
    """Return the time that a checkout of `commit` gives its files, in seconds since the epoch."""
    facts = await run_git("log", "-1", "--no-show-signature", "--format=%ct", commit, git_dir=mirror.path)
    return max(_OLDEST, min(int(facts.text), int(time.time()) - _SETTLED))


async def packed_refs(mirror: Mirror, commit: str) -> bytes:
    """Return the `packed-refs` of a checkout: the tags that the commit contains.

    Build tools ask `git describe` for the version. Only tags of the past: no look at the answer.
    """
    listing = await run_git(
        "for-each-ref",
        f"--merged={commit}",
        "--format=%(objectname) %(*objectname) %(refname)",
        TAGS,
        git_dir=mirror.path,
    )
    lines = [b"# pack-refs with: peeled fully-peeled sorted \n"]
    for line in listing.stdout.splitlines():
        oid, peeled, name = line.split(b" ", 2)
        lines.append(oid + b" refs/tags/" + name.removeprefix(TAGS.encode()) + b"\n")
        if peeled:
            lines.append(b"^" + peeled + b"\n")
    return b"".join(lines)


def settle(worktree: Path, when: int) -> None:
    """Give every file of the index the time `when`, on disk and in the index.

    Git does not trust an entry as young as the index itself; it would read such files again at every
    status, and rewrite the index. Nor may an edit within the same second go unseen. Times well in the past
    answer both. Format of the index: git's Documentation/gitformat-index.txt, version 2.
    """
    index = worktree / ".git/index"
    data = bytearray(index.read_bytes())
    signature, version, count = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version != 2:
        raise GitError(f"git wrote an index of version {version}, expected 2")
    at = 12
    times = struct.pack(">IIII", when, 0, when, 0)
    root = os.open(worktree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(count):
            end = data.index(b"\0", at + 62)
            path = bytes(data[at + 62 : end])
            if struct.unpack_from(">I", data, at + 24)[0] >> 12 != 0o16:  # a submodule has no file
                data[at : at + 16] = times
                os.utime(path, (when, when), dir_fd=root, follow_symlinks=False)
            at += (end - at + 8) // 8 * 8
    finally:
        os.close(root)
    data[-20:] = hashlib.sha1(data[:-20], usedforsecurity=False).digest()
    spare = index.with_name("index.new")
    spare.write_bytes(data)
    spare.replace(index)
