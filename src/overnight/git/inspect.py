"""What a person should know about their repository before an attempt works on it.

A checkout is only looked at with commands that start no program of its config and write nothing: no
`git status` (it would run `filter.clean` on changed files and refresh the index) but the plumbing below,
and what the index says is compared with the files by code of ours.
"""

import asyncio
import hashlib
import os
import re
import stat
from pathlib import Path

import msgspec

from overnight.domain.errors import GitError, RepositoryError
from overnight.domain.patch import EXECUTABLE, SYMLINK
from overnight.git.mirror import Mirror
from overnight.git.objects import GITLINK, list_tree, read_objects
from overnight.git.origin import Origin, common_dir, locate, own_dir
from overnight.git.run import clean, decode, run_git

LFS_MAGIC = b"version https://git-lfs.github.com/spec/v1\n"
LFS_POINTER_BYTES = 1024
HASHED_BYTES = 16 * 1024 * 1024
_LOOKED_AT = 20_000
_SKIP_WORKTREE = 0x4000_0000
_ENTRY = re.compile(
    rb"(?P<mode>[0-7]{6}) (?P<oid>[0-9a-f]+) (?P<stage>[0-3])\t(?P<path>[^\0]+)\0"
    rb"  ctime: [^\n]*\n  mtime: (?P<mtime>[0-9]+):[0-9]+\n  dev: [^\n]*\n  uid: [^\n]*\n"
    rb"  size: (?P<size>[0-9]+)\tflags: (?P<flags>[0-9a-f]+)\n"
)


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of an origin; what only shows in a commit's tree is filled in by `inspect_commit`."""

    origin: Origin
    branch: str | None = None
    """The branch that is checked out; None if HEAD is detached, or for a URL."""
    empty: bool = False
    detached: bool = False
    shallow: bool = False
    changed: tuple[str, ...] = ()
    """Tracked files with uncommitted changes, staged or not."""
    untracked: tuple[str, ...] = ()
    submodules: tuple[str, ...] = ()
    lfs: tuple[str, ...] = ()
    """Files whose content is elsewhere: the tree holds Git LFS pointers."""

    @property
    def dirty(self) -> tuple[str, ...]:
        """Everything in the checkout that is not part of any commit."""
        return self.changed + self.untracked

    def notes(self) -> tuple[str, ...]:
        """Return what a person should read before the work starts, one sentence each."""
        found: list[str] = []
        if self.dirty:
            found.append(
                f"uncommitted changes are not part of the base: {_some(self.dirty)}; commit them first"
            )
        if self.detached:
            found.append("HEAD is detached: the base is the commit that is checked out")
        if self.shallow:
            found.append("the repository is a shallow clone: the history that tools see is limited")
        if self.submodules:
            found.append(f"submodules are left empty: {_some(self.submodules)}")
        if self.lfs:
            found.append(f"Git LFS files are left as pointers: {_some(self.lfs)}")
        return tuple(found)


async def inspect_origin(origin: str | Origin) -> Inspection:
    """Return what can be seen before a fetch. For a URL that is nothing yet.

    Raises:
        UsageError: no such path, or no URL that we fetch from.
        RepositoryError: no repository at the path, or git cannot read it.
    """
    source = locate(origin) if isinstance(origin, str) else origin
    git_dir = source.git_dir
    if git_dir is None:
        return Inspection(origin=source)
    shallow = (common_dir(git_dir) / "shallow").exists()
    try:
        # The last one fails where there is no commit; the answer before it is good all the same.
        head = await run_git("symbolic-ref", "-q", "HEAD", git_dir=git_dir, accept=(0, 1))
        commit = await run_git(
            "rev-parse", "-q", "--verify", "HEAD^{commit}", git_dir=git_dir, accept=(0, 1, 128)
        )
    except GitError as error:
        raise RepositoryError(f"git cannot read {source.location}: {error.message}") from None
    branch = head.text.removeprefix("refs/heads/") or None
    if source.kind == "bare":
        return Inspection(origin=source, branch=branch, empty=commit.code != 0, shallow=shallow)
    return Inspection(
        origin=source,
        branch=branch,
        empty=commit.code != 0,
        detached=head.code == 1,
        shallow=shallow,
        changed=tuple(await changed_in_checkout(source)),
        untracked=tuple(await untracked_in_checkout(source)),
    )


async def inspect_commit(mirror: Mirror, commit: str, before: Inspection | None = None) -> Inspection:
    """Add what shows only after the fetch: submodules and LFS pointers in the tree, limited history."""
    entries = await list_tree(mirror, commit, sizes=False)
    submodules = tuple(entry.path for entry in entries if entry.mode == GITLINK)
    attributes = [e.oid for e in entries if e.path.rpartition("/")[2] == ".gitattributes"]
    lfs: tuple[str, ...] = ()
    if any(b"filter=lfs" in (content or b"") for content in await read_objects(mirror, attributes)):
        sized = await list_tree(mirror, commit)
        small = [e for e in sized if 100 < e.size < LFS_POINTER_BYTES][:_LOOKED_AT]
        contents = await read_objects(mirror, [entry.oid for entry in small])
        lfs = tuple(
            e.path for e, c in zip(small, contents, strict=True) if c is not None and c.startswith(LFS_MAGIC)
        )
    seen = before or Inspection(origin=mirror.origin)
    return msgspec.structs.replace(
        seen, empty=False, shallow=seen.shallow or mirror.shallow(), submodules=submodules, lfs=lfs
    )


async def changed_in_checkout(origin: Origin) -> list[str]:
    """Return the tracked files of a checkout whose content differs from HEAD or from the index.

    A file that was touched but is the same is not reported. One that a filter or line-ending rule stores
    differently is, once it was touched: to know better the filter would have to run.
    """
    git_dir, top = origin.git_dir, origin.path
    assert git_dir is not None
    assert top is not None
    tree = f"--work-tree={top}"
    options = ("--cached", "--name-only", "-z", "--no-renames", "--ignore-submodules=all")
    staged = await run_git(
        tree, "diff-index", *options, "HEAD", "--", git_dir=git_dir, directory=top, accept=(0, 128)
    )
    if staged.code:  # no commit yet: everything in the index is new
        staged = await run_git(tree, "ls-files", "-z", git_dir=git_dir, directory=top)
    found = {decode(path) for path in staged.stdout.split(b"\0") if path}
    # Not `diff-files`: it reads entries as young as the index through the repository's clean filters.
    listing = await run_git(tree, "ls-files", "-z", "--stage", "--debug", git_dir=git_dir, directory=top)
    written = _index_time(git_dir)
    found.update(await asyncio.to_thread(_edited, top, listing.stdout, written))
    return sorted(found)


def _index_time(git_dir: Path) -> int:
    try:
        return int((own_dir(git_dir) / "index").stat().st_mtime)
    except OSError:
        return 0


def _edited(top: Path, listing: bytes, index_time: int) -> list[str]:
    """Compare the index (as `ls-files --stage --debug -z` prints it) with the files, by time, size, bytes."""
    found: list[str] = []
    # The facts of an entry follow its NUL, up to the line with size and flags.
    for match in _ENTRY.finditer(listing):
        path = decode(match["path"])
        mode = int(match["mode"], 8)
        flags = int(match["flags"], 16)
        if match["stage"] != b"0":
            found.append(path)
            continue
        if mode == GITLINK or flags & _SKIP_WORKTREE:
            continue
        try:
            info = (top / path).lstat()
        except OSError:
            found.append(path)
            continue
        if not _same_kind(mode, info.st_mode):
            found.append(path)
        elif info.st_size == int(match["size"]) and int(info.st_mtime) == int(match["mtime"]) < index_time:
            continue
        elif _blob_id(top / path) != match["oid"].decode():
            found.append(path)
    return list(dict.fromkeys(found))


def _same_kind(mode: int, found: int) -> bool:
    if mode == SYMLINK:
        return stat.S_ISLNK(found)
    return stat.S_ISREG(found) and bool(found & stat.S_IXUSR) == (mode == EXECUTABLE)


async def untracked_in_checkout(origin: Origin) -> list[str]:
    """Return the files that git neither tracks nor ignores; a whole untracked folder ends in `/`."""
    assert origin.git_dir is not None
    answer = await run_git(
        f"--work-tree={origin.location}", "ls-files", "-z", "--others", "--exclude-standard", "--directory",
        "--no-empty-directory",
        git_dir=origin.git_dir, directory=origin.path,
    )  # fmt: skip
    return sorted(decode(path) for path in answer.stdout.split(b"\0") if path)


def _blob_id(path: Path) -> str:
    """Return git's id (SHA-1) of the file's bytes as they are, or "" for what is too large or no file."""
    try:
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            content = os.fsencode(path.readlink())
        elif stat.S_ISREG(info.st_mode) and info.st_size <= HASHED_BYTES:
            content = path.read_bytes()
        else:
            return ""
    except OSError:
        return ""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _some(paths: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(clean(path, 120) for path in paths[:most])
    return f"{shown} and {len(paths) - most} more" if len(paths) > most else shown
