"""What a person may name as a repository: a path on this machine, or a URL."""

import hashlib
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from overnight.domain.errors import RepositoryError, UsageError
from overnight.domain.ids import slug
from overnight.git.run import clean

_SCP = re.compile(
    r"^(?:[A-Za-z0-9_.+-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\]):(?P<path>[^:].*)$"
)
_SCHEMES = ("https", "ssh", "git+ssh", "ssh+git")


class Origin(msgspec.Struct, frozen=True):
    """Where a repository comes from. `location` is its one normal form: an absolute path, or the URL."""

    location: str
    kind: Literal["worktree", "bare", "url"]

    @property
    def path(self) -> Path | None:
        """The top of the checkout or the bare repository; None for a URL."""
        return None if self.kind == "url" else Path(self.location)

    @property
    def git_dir(self) -> Path | None:
        """What to give git as `--git-dir`; None for a URL."""
        if self.kind == "url":
            return None
        return Path(self.location) / ".git" if self.kind == "worktree" else Path(self.location)

    @property
    def name(self) -> str:
        """A short name for people: the last part, without `.git`."""
        return re.split(r"[/:]", self.location.rstrip("/"))[-1].removesuffix(".git") or "repository"

    @property
    def key(self) -> str:
        """A folder name: readable, and different for different origins."""
        digest = hashlib.sha256(self.location.encode(errors="surrogateescape")).hexdigest()
        return f"{slug(self.name)}-{digest[:16]}"


def locate(text: str, start: Path | None = None) -> Origin:
    """Return the repository that `text` names.

    A path is taken relative to `start`; a folder inside a checkout stands for the whole checkout. An
    existing path wins over the short `host:path` form of ssh.

    Raises:
        UsageError: nothing is at the path, or the URL is of a kind that we do not fetch from.
        RepositoryError: the path is there but no repository holds it.
    """
    shown = clean(text, 200)
    if not text.strip() or text.startswith("-") or clean(text, len(text)) != text:
        raise UsageError(f"not a repository: {shown!r}", "give a path or a URL")
    if text.startswith("file://"):
        return _locate_path(Path(unquote(urlsplit(text).path)), shown)
    path = (start or Path.cwd()) / text
    if path.exists():
        return _locate_path(path, shown)
    if "::" in text and "[" not in text:
        raise UsageError(f"remote helpers are not allowed: {shown}", "use an https or ssh URL, or a path")
    if "://" in text:
        return _locate_url(text, shown)
    if _SCP.match(text):
        return Origin(text, "url")
    raise UsageError(f"no such path: {shown}", "check the spelling; give a folder or a URL after --repo")


def own_dir(git_dir: Path) -> Path:
    """Return the folder with HEAD and the index, of a linked checkout too (its `.git` is a file)."""
    if not git_dir.is_file():
        return git_dir
    text = git_dir.read_text(errors="surrogateescape").strip()
    return git_dir.parent / text.removeprefix("gitdir:").strip()


def common_dir(git_dir: Path) -> Path:
    """Return the folder with the objects and shared refs of a (linked) checkout."""
    own = own_dir(git_dir)
    shared = own / "commondir"
    return own / shared.read_text(errors="surrogateescape").strip() if shared.is_file() else own


def _locate_url(text: str, shown: str) -> Origin:
    try:
        parts = urlsplit(text)
        host, password = parts.hostname, parts.password
    except ValueError:
        raise UsageError(f"not a URL: {shown}") from None
    if parts.scheme.lower() not in _SCHEMES:
        raise UsageError(f"cannot fetch by {parts.scheme}: {shown}", "use an https or ssh URL, or a path")
    if not host or host.startswith("-") or not parts.path.strip("/"):
        raise UsageError(f"the URL names no repository: {shown}")
    if password is not None:
        raise UsageError(
            f"the URL for {host} holds a password",
            "leave it out and keep it in a git credential helper; Overnight stores URLs and shows them",
        )
    return Origin(text, "url")


def _locate_path(path: Path, shown: str) -> Origin:
    top = path.resolve()
    if not top.is_dir():
        top = top.parent
    for folder in (top, *top.parents):
        if folder.name == ".git" and _is_git_dir(folder) and not _is_bare(folder):
            return Origin(str(folder.parent), "worktree")
        if (folder / ".git").is_file() or _is_git_dir(folder / ".git"):
            return Origin(str(folder), "worktree")
        if _is_git_dir(folder):
            return Origin(str(folder), "bare")
    raise RepositoryError(
        f"no git repository at this path: {shown}",
        f"run `git init && git add -A && git commit -m start` in {shown}, or name another path",
    )


def _is_git_dir(folder: Path) -> bool:
    """The test git itself makes: HEAD, an object store, refs."""
    return (folder / "HEAD").exists() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def _is_bare(folder: Path) -> bool:
    return (
        not (folder / "index").exists()
        and re.search(
            r"^\s*bare\s*=\s*true\s*$", (folder / "config").read_text(errors="replace"), re.MULTILINE
        )
        is not None
    )
