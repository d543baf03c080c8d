"""The only code that writes into a person's own repository, and only when they ask: apply, checkout, merge.

It runs git in their repository with their config (line endings, LFS, identity), but without hooks and
fsmonitor. Nothing is ever taken from them: uncommitted or untracked work in the way is a `ConflictError`.
"""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import ConflictError, GitError, UsageError
from overnight.git.commit import AUTHOR_EMAIL, AUTHOR_NAME, check_branch
from overnight.git.inspect import changed_in_checkout
from overnight.git.mirror import Mirror
from overnight.git.objects import changed_files, diff
from overnight.git.origin import Origin, common_dir, locate, own_dir
from overnight.git.paths import check_path
from overnight.git.run import UPLOAD_PACK, GitOutput, clean, decode, run_git

_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
}


class Merged(msgspec.Struct, frozen=True):
    """How a merge ended. `commit` is where the base branch stands now."""

    commit: str
    how: str
    """"fast-forward", "merge commit" or "already merged"."""


class _Checkout(msgspec.Struct, frozen=True):
    """A person's repository, and their environment to run git in it."""

    origin: Origin
    user: Mapping[str, str]

    @property
    def git_dir(self) -> Path:
        assert self.origin.git_dir is not None
        return self.origin.git_dir

    async def git(self, *args: str, accept: tuple[int, ...] = (0,), stdin: bytes = b"") -> GitOutput:
        tree = (f"--work-tree={self.origin.location}",) if self.origin.kind == "worktree" else ()
        directory = Path(self.origin.location)
        return await run_git(
            *tree,
            *args,
            git_dir=self.git_dir,
            directory=directory,
            user=self.user,
            accept=accept,
            stdin=stdin,
        )

    async def commit_of(self, name: str) -> str | None:
        answer = await self.git("rev-parse", "-q", "--verify", f"{name}^{{commit}}", accept=(0, 1, 128))
        return answer.text if answer.code == 0 else None

    async def current_branch(self) -> str | None:
        answer = await self.git("symbolic-ref", "-q", "HEAD", accept=(0, 1))
        return answer.text.removeprefix("refs/heads/") or None


def _checkout(path: Path, user: Mapping[str, str]) -> _Checkout:
    origin = locate(str(path))
    if origin.kind == "url":
        raise UsageError(f"not a checkout on this machine: {clean(str(path))}")
    return _Checkout(origin, user)


async def apply_to_checkout(
    checkout: Path, mirror: Mirror, base: str, head: str, *, user: Mapping[str, str]
) -> tuple[str, ...]:
    """Put the change from `base` to `head` into a person's checkout, uncommitted, and return its paths.

    All or nothing. `user` is the person's environment.

    Raises:
        ConflictError: a file of the change has uncommitted work, an untracked file is in its way, or the
            change does not fit what is checked out. Nothing was written; the message names the files.
        UsageError: there is no checkout at the path.
    """
    place = _checkout(checkout, user)
    if place.origin.kind == "bare":
        raise UsageError(
            f"no files are checked out in {place.origin.location}", "merge the pull request instead"
        )
    paths = [change.path for change in await changed_files(mirror, base, head)]
    for path in paths:
        check_path(path)
    _refuse(await _in_the_way(place, paths), "the change would overwrite uncommitted work in")
    patch = await diff(mirror, base, head, renames=False)
    # `git apply` checks every file before it writes the first.
    answer = await place.git("apply", "--whitespace=nowarn", "-", accept=(0, 1, 128), stdin=patch)
    if answer.code:
        failed = sorted({path for path in paths if f" {path}:" in decode(answer.stderr)}) or paths
        raise ConflictError(
            f"the change does not apply to what is checked out: {_some(failed)}",
            f"check out {base[:12]} or a branch near it, or use `overnight task checkout`",
        )
    return tuple(paths)


async def checkout_branch(checkout: Path, mirror: Mirror, branch: str, *, user: Mapping[str, str]) -> str:
    """Bring one of our branches into a person's checkout, switch to it, and return its commit.

    Raises:
        ConflictError: uncommitted work is in the way, or the branch has commits there that ours has not.
        UsageError: no such branch, or no checkout at the path.
    """
    place = _checkout(checkout, user)
    if place.origin.kind == "bare":
        raise UsageError(f"no files are checked out in {place.origin.location}")
    commit = await _our_commit(mirror, branch)
    _refuse_unfinished(place)
    await _bring(place, mirror, branch)
    there = await place.commit_of(f"refs/heads/{branch}")
    if there not in (None, commit) and not await _is_ancestor(place, str(there), commit):
        raise ConflictError(f"{branch} has other commits in your checkout", "rename your branch first")
    if await place.current_branch() == branch:
        await _forward(place, commit)
        return commit
    answer = await place.git("checkout", "-q", "--no-track", "-B", branch, commit, "--", accept=(0, 1, 128))
    if answer.code:
        raise ConflictError(
            f"your uncommitted work is in the way of {branch}: {_named_files(answer)}",
            "commit or stash it first",
        )
    return commit


async def merge_into_checkout(
    checkout: Path,
    mirror: Mirror,
    branch: str,
    base_ref: str,
    *,
    message: str,
    user: Mapping[str, str],
    at: float | None = None,
    expected: str | None = None,
) -> Merged:
    """Merge one of our branches into the branch `base_ref` of a person's repository (a bare one too).

    Fast-forward where that is possible, else a merge commit in the person's name. The merge is computed in
    the mirror; their repository changes only at the end, by compare and swap, and its files only if the
    branch is the one checked out. `at` is the merge commit's time, in seconds since the epoch. `expected` is
    the commit that was reviewed: our branch must still stand there.

    Raises:
        ConflictError: the branches conflict, there is uncommitted work, a merge or rebase is unfinished, or
            the branch moved meanwhile. Nothing was changed.
        UsageError: `base_ref` is no branch there, or our branch does not exist.
    """
    place = _checkout(checkout, user)
    head = await _our_commit(mirror, branch)
    if expected is not None and head != expected:
        raise ConflictError(
            f"{branch} moved: it is at {head[:12]}, not {expected[:12]}", "look at it again first"
        )
    tip = await place.commit_of(f"refs/heads/{base_ref}")
    if tip is None:
        raise UsageError(
            f"{clean(base_ref, 80)!r} is not a branch of {place.origin.location}",
            "take the patch by `overnight task apply` or `overnight task checkout`, and merge it yourself",
        )
    if await _is_ancestor(place, head, tip):
        return Merged(tip, "already merged")
    checked_out = place.origin.kind == "worktree" and await place.current_branch() == base_ref
    if checked_out:
        _refuse_unfinished(place)
        _refuse(await changed_in_checkout(place.origin), "there is uncommitted work in")
    else:
        await _refuse_other_worktree(place, base_ref)
    # The person's branch may be ahead of what the mirror has seen.
    source = (
        "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--update-shallow",
        f"--upload-pack={UPLOAD_PACK}",
    )  # fmt: skip
    await run_git(*source, "--", place.origin.location, tip, git_dir=mirror.path)
    forward = await run_git("merge-base", "--is-ancestor", tip, head, git_dir=mirror.path, accept=(0, 1))
    commit = head if forward.code == 0 else await _merge_commit(place, mirror, tip, head, message, at)
    await _bring(place, mirror, commit)
    if checked_out:
        await _forward(place, commit)
    else:
        await _swap(place, base_ref, commit, tip)
    return Merged(commit, "fast-forward" if commit == head else "merge commit")


async def contains(checkout: Path, base_ref: str, commit: str, *, user: Mapping[str, str]) -> str | None:
    """Return where a branch of a person's repository stands if it contains `commit`, else None."""
    place = _checkout(checkout, user)
    tip = await place.commit_of(f"refs/heads/{base_ref}")
    return tip if tip is not None and await _is_ancestor(place, commit, tip) else None


async def _merge_commit(
    place: _Checkout, mirror: Mirror, tip: str, head: str, message: str, at: float | None
) -> str:
    """Merge two commits inside the mirror, where no merge driver of the person's config can run."""
    answer = await run_git(
        "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", tip, head,
        git_dir=mirror.path, accept=(0, 1),
    )  # fmt: skip
    tree, *conflicts = [decode(part) for part in answer.stdout.split(b"\0") if part]
    if answer.code:
        raise ConflictError(
            f"the branches conflict in {_some(conflicts)}", "merge by hand: `overnight task checkout`"
        )
    name, email = await _identity(place)
    when = f"{int(time.time() if at is None else at)} +0000"
    made = await run_git(
        "commit-tree", tree, "-p", tip, "-p", head, "-F", "-",
        git_dir=mirror.path,
        stdin=(message.strip() + "\n").encode("utf-8", "replace"),
        variables={
            "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": when,
            "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email, "GIT_COMMITTER_DATE": when,
        },
    )  # fmt: skip
    return made.text


async def _identity(place: _Checkout) -> tuple[str, str]:
    """Return the person's name and mail address from their config, or ours where they set none."""
    name = await place.git("config", "--get", "user.name", accept=(0, 1))
    email = await place.git("config", "--get", "user.email", accept=(0, 1))
    return clean(name.text) or AUTHOR_NAME, clean(email.text) or AUTHOR_EMAIL


async def _our_commit(mirror: Mirror, branch: str) -> str:
    check_branch(branch)
    commit = await mirror.branch_commit(branch)
    if commit is None:
        raise UsageError(f"there is no branch {branch}")
    return commit


async def _bring(place: _Checkout, mirror: Mirror, name: str) -> None:
    """Copy the objects of a branch or commit into the person's repository; no ref of theirs changes."""
    what = name if not name.startswith("overnight/") else f"refs/heads/{name}"
    options = (
        "-q",
        "--no-tags",
        "--no-write-fetch-head",
        "--refmap=",
        "--no-recurse-submodules",
        "--update-shallow",
    )
    await place.git("fetch", *options, f"--upload-pack={UPLOAD_PACK}", "--", str(mirror.path), what)


async def _forward(place: _Checkout, commit: str) -> None:
    """Move the checked-out branch and its files forward; git refuses to lose anything."""
    answer = await place.git(
        "merge", "-q", "--ff-only", "--no-stat", "--no-autostash", commit, accept=(0, 1, 2, 128)
    )
    if answer.code:
        raise ConflictError(
            f"files in your checkout are in the way: {_named_files(answer)}", "move or commit them"
        )


async def _swap(place: _Checkout, branch: str, new: str, old: str) -> None:
    try:
        await place.git("update-ref", "-m", "overnight: merge", f"refs/heads/{branch}", new, old)
    except GitError as error:
        raise ConflictError(f"{branch} moved meanwhile: {error.message}", "run the merge again") from None


async def _is_ancestor(place: _Checkout, old: str, new: str) -> bool:
    answer = await place.git("merge-base", "--is-ancestor", old, new, accept=(0, 1, 128))
    return answer.code == 0


async def _in_the_way(place: _Checkout, paths: Iterable[str]) -> list[str]:
    """Return what holds work that no commit has, among and above the paths: changed, untracked, ignored."""
    top = Path(place.origin.location)
    wanted = set(paths)
    found = wanted & set(await changed_in_checkout(place.origin))
    listing = await place.git("ls-files", "-z")
    tracked = {decode(path) for path in listing.stdout.split(b"\0")}
    for path in wanted - tracked:
        here = top / path
        if here.is_dir() and not here.is_symlink():  # a folder that becomes a file
            inside = {str(f.relative_to(top)) for f in here.rglob("*") if f.is_symlink() or not f.is_dir()}
            found |= inside - (wanted & tracked)
        elif here.is_symlink() or here.exists():
            found.add(path)
        # `git apply` would only notice this one when some files are already written.
        for parent in list(Path(path).parents)[:-1]:
            above = top / parent
            if str(parent) not in wanted and (above.is_symlink() or (above.exists() and not above.is_dir())):
                found.add(str(parent))
    return sorted(found)


def _refuse(paths: list[str], why: str) -> None:
    if paths:
        raise ConflictError(f"{why} {_some(paths)}", "commit, stash or move it, then try again")


def _refuse_unfinished(place: _Checkout) -> None:
    git_dir = own_dir(place.git_dir)
    for name, what in _UNFINISHED.items():
        if (git_dir / name).exists():
            raise ConflictError(
                f"a {what} is unfinished in {place.origin.location}", "finish or abort it first"
            )


async def _refuse_other_worktree(place: _Checkout, branch: str) -> None:
    """Refuse to move a branch that another working tree of the repository has checked out."""
    if not (common_dir(place.git_dir) / "worktrees").exists():
        return
    answer = await place.git("worktree", "list", "--porcelain", "-z")
    folder = ""
    for line in answer.text.split("\0"):
        if line.startswith("worktree "):
            folder = line.removeprefix("worktree ")
        elif line == f"branch refs/heads/{branch}":
            raise ConflictError(f"{branch} is checked out in {clean(folder)}", "merge from that checkout")


def _named_files(answer: GitOutput) -> str:
    """Return the file names that git lists (indented) in a refusal."""
    lines = decode(answer.stderr).split("\n")
    return _some([line.strip() for line in lines if line.startswith("\t")]) or clean(lines[0])


def _some(paths: list[str], most: int = 8) -> str:
    shown = ", ".join(clean(path, 120) for path in paths[:most])
    return f"{shown} and {len(paths) - most} more" if len(paths) > most else shown
