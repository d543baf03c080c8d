"""The bare copy of a repository that Overnight works from; the origin itself is only ever read.

What upstream has lies under `refs/upstream/`, what Overnight made under `refs/heads/overnight/`: a pruning
fetch can only reach the former. Only this package writes into a mirror, so its config can be trusted.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from overnight.domain.errors import GitError, RepositoryError, UsageError
from overnight.git.lock import locked
from overnight.git.origin import Origin, common_dir, locate
from overnight.git.run import UPLOAD_PACK, GitOutput, clean, decode, encode, run_git

FETCH_SECONDS = 3600.0
BRANCHES = "refs/upstream/heads/"
TAGS = "refs/upstream/tags/"
HEAD = "refs/upstream/HEAD"
OURS = "refs/heads/overnight/"
_REF = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+")
_STEPS = re.compile(r"(?P<name>.*?)(?P<steps>(?:[~^][0-9]*)*)", re.DOTALL)
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = true
\tfilemode = true
[gc]
\tauto = 0
\tpruneExpire = never
\treflogExpire = never
[maintenance]
\tauto = false
"""
LENIENT = (
    "zeroPaddedFilemode",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingEmail",
    "badEmail",
    "missingNameBeforeEmail",
    "badName",
    "badDate",
    "badDateOverflow",
    "badTimezone",
    "zeroPaddedDate",
    "multipleAuthors",
    "missingTaggerEntry",
    "badTagName",
    "nullSha1",
    "emptyName",
    "extraHeaderEntry",
    "gitmodulesParse",
    "nulInCommit",
)
# Objects are checked as they come in. What tricks a checkout is refused; what old tools wrote in good faith
# (and is in many real histories) is let through and reported.
FSCK = (
    "fetch.fsckObjects=true",
    *(f"fetch.fsck.{name}=error" for name in ("hasDot", "hasDotdot", "hasDotgit", "fullPathname")),
    *(f"fetch.fsck.{name}=warn" for name in LENIENT),
)


class Fetched(msgspec.Struct, frozen=True):
    """What a fetch found. `warnings` are oddities in the history that were let through."""

    changed: bool
    empty: bool
    warnings: tuple[str, ...] = ()


class Upstream(msgspec.Struct, frozen=True):
    """What the origin answered when it was last asked; kept in the mirror, beside the refs."""

    head_ref: str = ""
    """The branch that the origin's HEAD names; empty if HEAD is detached or names no commit."""
    head: str = ""
    listing: str = ""
    shallow: bool = False


class Mirror(msgspec.Struct, frozen=True):
    """One bare repository for one origin. Safe to use from several processes at once."""

    path: Path
    origin: Origin
    user: Mapping[str, str] | None = None
    """The person's environment, for fetching from a URL with their own credentials; never used for a path."""

    @classmethod
    async def open(cls, root: Path, origin: str | Origin, user: Mapping[str, str] | None = None) -> "Mirror":
        """Return the mirror of `origin` under `root`, made empty if it is not there yet.

        Raises:
            UsageError: `origin` names no path and no URL that can be fetched from.
            RepositoryError: no repository is at the path.
        """
        source = locate(origin) if isinstance(origin, str) else origin
        path = root / f"{source.key}.git"
        if not (path / "HEAD").exists():
            root.mkdir(parents=True, exist_ok=True)
            async with locked(_lock_path(path)):
                _create(path)
        return cls(path, source, user)

    async def fetch(self, progress: Callable[[str], None] | None = None, want: str | None = None) -> Fetched:
        """Bring `refs/upstream/` up to what the origin has now. Incremental; deletes what upstream deleted.

        `want` is a full commit id that must be here afterwards, if the origin gives it. `progress` gets
        short lines for people.

        Raises:
            GitError: the origin cannot be reached, refused us, or sent broken objects.
        """
        async with locked(_lock_path(self.path)):
            listing = decode(
                (
                    await self._remote("ls-remote", "--symref", then=("HEAD", "refs/heads/*", "refs/tags/*"))
                ).stdout
            )
            shallow = self._origin_is_shallow()
            now = _parse_listing(listing, shallow)
            missing = want is not None and _SHA.fullmatch(want) and not await self.has(want)
            if now == self.upstream() and not missing:
                return Fetched(False, not now.listing)
            result = await self._fetch_refs(now, progress)
            if missing and want is not None and not await self.has(want):
                # Best effort: not every server hands out commits by id; `resolve` reports what is missing.
                await self._remote(
                    "fetch",
                    "--no-tags",
                    "--no-write-fetch-head",
                    then=(f"+{want}:refs/upstream/commits/{want}",),
                    accept=(0, 1, 128),
                )
            _write_atomically(self.path / "upstream.json", msgspec.json.encode(now))
            return Fetched(True, not now.listing, _warnings(result.stderr))

    async def _fetch_refs(self, now: Upstream, progress: Callable[[str], None] | None) -> GitOutput:
        refs = [f"+refs/heads/*:{BRANCHES}*", f"+refs/tags/*:{TAGS}*"]
        if now.head:
            refs.append(f"+HEAD:{HEAD}")
        # An empty --refmap keeps the mirror's config out of it; --update-shallow accepts a shallow origin.
        options = [
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
            "--refmap=",
            "--no-recurse-submodules",
            "--progress",
        ]
        grown = self.upstream().shallow and not now.shallow and (self.path / "shallow").exists()
        options.append("--unshallow" if grown else "--update-shallow")
        return await self._remote("fetch", *options, then=tuple(refs), on_message=progress)

    async def _remote(
        self,
        command: str,
        *options: str,
        then: tuple[str, ...],
        accept: tuple[int, ...] = (0,),
        on_message: Callable[[str], None] | None = None,
    ) -> GitOutput:
        """Run a command that talks to the origin. A person's credentials go to URLs only."""
        is_path = self.origin.path is not None
        try:
            return await run_git(
                command,
                *options,
                f"--upload-pack={UPLOAD_PACK if is_path else 'git-upload-pack'}",
                "--",
                self.origin.location,
                *then,
                git_dir=self.path,
                config=(*FSCK, "fetch.unpackLimit=1", "core.alternateRefsCommand=true"),
                user=None if is_path else self.user,
                variables={} if is_path or self.user is not None else {"GIT_ALLOW_PROTOCOL": "https:ssh"},
                accept=accept,
                seconds=FETCH_SECONDS,
                on_message=on_message,
            )
        except GitError as error:
            if "mismatched algorithms" in error.message or "object format" in error.message:
                raise RepositoryError(
                    f"{self.origin.location} uses SHA-256 objects, which are not supported"
                ) from None
            hint = (
                "its history holds an object that no git should make; nothing was taken in"
                if error.message.startswith("git fetch failed: object ")
                else "is the folder readable?"
                if is_path
                else f"try `git ls-remote {clean(self.origin.location)}` yourself"
            )
            raise GitError(
                f"cannot fetch from {clean(self.origin.location)}: {error.message}", hint
            ) from None

    def _origin_is_shallow(self) -> bool:
        git_dir = self.origin.git_dir
        return git_dir is not None and (common_dir(git_dir) / "shallow").exists()

    def upstream(self) -> Upstream:
        """Return what the last fetch found; empty before the first."""
        try:
            return msgspec.json.decode((self.path / "upstream.json").read_bytes(), type=Upstream)
        except (FileNotFoundError, msgspec.DecodeError):
            return Upstream()

    def shallow(self) -> bool:
        """True if the history stops somewhere because the origin is a shallow clone."""
        return (self.path / "shallow").exists()

    def default_ref(self) -> str:
        """Return the branch that the origin's HEAD names, or its commit if HEAD is detached.

        Raises:
            RepositoryError: the origin has no commits, or its HEAD names a branch that does not exist.
        """
        seen = self.upstream()
        if not seen.listing:
            raise RepositoryError(
                f"{clean(self.origin.location)} has no commits",
                "make a first one: `git add -A && git commit -m start`",
            )
        if not seen.head:
            raise RepositoryError(
                f"HEAD of {clean(self.origin.location)} names a branch without commits",
                f"say which one with --base: {_some(_branch_names(seen.listing))}",
            )
        return seen.head_ref or seen.head

    async def resolve(self, ref: str | None = None) -> str:
        """Return the commit that `ref` names: a branch, a tag, a full or short commit id, or `HEAD`.

        `~2` and `^` after the name work. None is the origin's HEAD. Branches win over tags, both over ids.

        Raises:
            RepositoryError: nothing has that name; the hint lists names that are near.
            UsageError: the text cannot be a ref.
        """
        name = self.default_ref() if ref is None else ref
        split = _STEPS.fullmatch(name)
        base, steps = (split["name"], split["steps"]) if split else (name, "")
        if not _REF.fullmatch(base) or "@{" in base or ".." in base or len(base) > 255:
            raise UsageError(
                f"not a branch, tag or commit: {clean(name, 80)!r}", "see `git branch` and `git tag`"
            )
        found = await self._lookup([f"{c}{steps}^{{commit}}" for c in _candidates(base)])
        if found is not None:
            return found
        self.default_ref()  # says it better if there are no commits at all
        names = [n for n in await self.names() if n]
        near = difflib.get_close_matches(base, names, n=5, cutoff=0.5)
        raise RepositoryError(
            f"no branch, tag or commit called {clean(name, 80)!r} in {clean(self.origin.location)}",
            f"near it: {_some(near)}" if near else f"there are: {_some(names)}",
        )

    async def _lookup(self, expressions: list[str]) -> str | None:
        """Return the first of the expressions that names a commit. One process for all."""
        answer = await run_git(
            "cat-file",
            "--batch-check",
            git_dir=self.path,
            stdin=b"".join(encode(e) + b"\n" for e in expressions),
        )
        for line in decode(answer.stdout).splitlines():
            words = line.split(" ")
            if len(words) == 3 and words[1] == "commit":
                return words[0]
        return None

    async def has(self, commit: str) -> bool:
        """True if the commit is in the mirror."""
        return await self._lookup([f"{commit}^{{commit}}"]) is not None

    async def names(self) -> list[str]:
        """Return the upstream branches, then the tags, without their prefixes."""
        answer = await run_git("for-each-ref", "--format=%(refname)", BRANCHES, TAGS, git_dir=self.path)
        return [n.removeprefix(BRANCHES).removeprefix(TAGS) for n in answer.text.split("\n") if n]

    async def branch_commit(self, branch: str) -> str | None:
        """Return the commit of one of our own branches (`overnight/…`), or None if it is not there."""
        return await self._lookup([f"refs/heads/{branch}^{{commit}}"])


def _candidates(name: str) -> list[str]:
    if name == "HEAD":
        return [HEAD]
    for prefix, here in (("refs/heads/", BRANCHES), ("refs/tags/", TAGS)):
        if name.startswith(prefix):
            return [here + name.removeprefix(prefix)]
    found = [BRANCHES + name, TAGS + name]
    if name.startswith("overnight/"):
        found.append(f"refs/heads/{name}")
    if re.fullmatch(r"[0-9a-fA-F]{4,64}", name):
        found.append(name)
    return found


def _parse_listing(listing: str, shallow: bool) -> Upstream:
    head_ref, head = "", ""
    for line in listing.splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: "):
            head_ref = value.removeprefix("ref: ").removeprefix("refs/heads/")
        elif name == "HEAD":
            head = value
    return Upstream(head_ref if head else "", head, listing, shallow)


def _branch_names(listing: str) -> list[str]:
    names = [line.partition("\t")[2] for line in listing.splitlines()]
    return [n.removeprefix("refs/heads/") for n in names if n.startswith("refs/heads/")]


def _some(names: list[str], most: int = 8) -> str:
    shown = ", ".join(clean(n, 80) for n in names[:most])
    return (f"{shown} … ({len(names)} in all)" if len(names) > most else shown) or "none"


def _warnings(stderr: bytes) -> tuple[str, ...]:
    lines = (clean(line) for line in decode(stderr).replace("\r", "\n").split("\n"))
    return tuple(line for line in lines if line.startswith("warning:") and "unknown msg id" not in line)[:50]


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _create(path: Path) -> None:
    """Write an empty bare repository; HEAD comes last, as the sign that it is whole."""
    for folder in ("objects/info", "objects/pack", "refs/heads", "info"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    (path / "config").write_text(CONFIG)
    _write_atomically(path / "HEAD", b"ref: refs/heads/overnight-has-no-default\n")


def _write_atomically(path: Path, content: bytes) -> None:
    """Replace a file at once; only called under the mirror's lock, so the spare name is free."""
    spare = path.with_name(f"{path.name}.new")
    spare.write_bytes(content)
    spare.replace(path)
