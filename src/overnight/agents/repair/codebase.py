"""The workspace's source files as shapes: read when asked for, parsed once per content, within bounds."""

import fnmatch
import hashlib
import re
from collections.abc import Iterable

from overnight.agents.repair.functions import FileShape, Function, shape
from overnight.agents.repair.regions import language_of
from overnight.environments.interface import Workspace

MAX_FILE = 400_000
MAX_FILES = 20_000
MAX_SEARCHED = 24_000_000
"""Bytes read at most when files are searched for words."""

_TEST_PATH = re.compile(
    r"(?:^|/)(?:tests?|testing|__tests__|specs?)/|(?:^|/)(?:test_[^/]*|conftest)\.py$"
    r"|_tests?\.(?:py|go|rs|cc|cpp|c|rb|exs)$|\.(?:test|spec)\.[cm]?[jt]sx?$|Tests?\.(?:java|kt|cs|scala)$"
)


def is_test(path: str) -> bool:
    """Say whether a path looks like a test's, by the usual conventions."""
    return _TEST_PATH.search(path) is not None


def is_protected(path: str, patterns: Iterable[str]) -> bool:
    """Say whether `path` matches a glob pattern; `**` spans directories, a bare name is any of them."""
    for pattern in patterns:
        if "/" not in pattern and fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern):
            return True
        whole = pattern.lstrip("/")
        if whole.endswith("/"):
            whole += "**"
        for variant in {whole, whole.replace("**/", "")}:
            if fnmatch.fnmatchcase(path, variant):
                return True
    return False


class Codebase:
    """Reads shapes of the workspace's files; `changed` must be told when a file was written."""

    def __init__(self, workspace: Workspace, protected: Iterable[str]) -> None:
        self._workspace = workspace
        self._protected = tuple(protected)
        self._paths: list[str] | None = None
        self._texts: dict[str, str] = {}
        self._by_digest: dict[tuple[str, bytes], FileShape] = {}
        self._stems: dict[str, list[str]] | None = None

    def changed(self, path: str) -> None:
        """Forget what was read of `path`."""
        known = self._texts.pop(path, None)
        if known is None or path not in self.paths():
            self._paths = self._stems = None

    def forget(self) -> None:
        """Forget every text; parsed shapes stay known by their content."""
        self._texts.clear()
        self._paths = self._stems = None

    def paths(self) -> list[str]:
        """Return the source files of known languages, tests included."""
        if self._paths is None:
            self._paths = [p for p in self._workspace.files() if language_of(p)][:MAX_FILES]
        return self._paths

    def text(self, path: str) -> str:
        """Return the file's text; empty if there is none, or none that can be read as source."""
        if path not in self._texts:
            raw = self._workspace.read(path)
            if raw is None or len(raw) > MAX_FILE or b"\0" in raw:
                self._texts[path] = ""
            else:
                try:
                    self._texts[path] = raw.decode("utf-8")
                except UnicodeDecodeError:
                    self._texts[path] = ""
        return self._texts[path]

    def shape(self, path: str) -> FileShape:
        """Return the file's shape, parsed once per content."""
        text = self.text(path)
        key = (path, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        if key not in self._by_digest:
            self._by_digest[key] = shape(path, text)
        return self._by_digest[key]

    def editable(self, path: str) -> bool:
        """Say whether repair may change `path`: a source file, no test, not protected."""
        return bool(language_of(path)) and not is_test(path) and not is_protected(path, self._protected)

    def at(self, path: str, line: int) -> Function | None:
        """Return the function that holds a line of a file, if the file is known."""
        return self.shape(path).at(line) if path in self._index() else None

    def has(self, path: str) -> bool:
        """Say whether `path` is a source file of the workspace."""
        return path in self._index()

    def module(self, dotted: str, importer: str = "") -> str | None:
        """Return the file of a dotted module name, relative to `importer` where it begins with dots."""
        if dotted.startswith("."):
            level = len(dotted) - len(dotted.lstrip("."))
            parts = importer.split("/")[:-level]
            tail = [p for p in dotted.lstrip(".").split(".") if p]
            return self._first(("/".join([*parts, *tail]),), exact=True)
        return self._first((dotted.replace(".", "/"),), exact=False)

    def imported(self, path: str) -> list[str]:
        """Return the workspace's files that `path` imports directly."""
        known = self.shape(path)
        found: list[str] = []
        for dotted in known.modules:
            target = self.module(dotted, path)
            if target is not None:
                found.append(target)
        if known.language != "python":
            for line in known.imports:
                for quoted in re.findall(r"""["']([\w./@-]+)["']""", line):
                    stem = quoted.rsplit("/", 1)[-1].split(".")[0]
                    found.extend(self._index_stems().get(stem, [])[:3])
        return list(dict.fromkeys(p for p in found if p != path))

    def closure(self, starts: Iterable[str], hops: int = 3, limit: int = 300) -> list[str]:
        """Return the files reached from `starts` by imports, nearest first."""
        seen = list(dict.fromkeys(p for p in starts if self.has(p)))
        frontier = list(seen)
        for _ in range(hops):
            following: list[str] = []
            for path in frontier:
                for target in self.imported(path):
                    if target not in seen and len(seen) < limit:
                        seen.append(target)
                        following.append(target)
            frontier = following
        return seen

    def mentioning(self, words: Iterable[str], limit: int = 20) -> list[str]:
        """Return the editable files that hold most of `words`, best first; searched, not parsed."""
        patterns = [w.lower() for w in words]
        scored: list[tuple[int, str]] = []
        searched = 0
        for path in self.paths():
            if not self.editable(path) or searched > MAX_SEARCHED:
                continue
            text = self.text(path)
            searched += len(text)
            low = text.lower()
            score = sum(1 for word in patterns if word in low) + sum(2 for w in patterns if w in path.lower())
            if score:
                scored.append((-score, path))
        return [path for _, path in sorted(scored)[:limit]]

    def _index(self) -> frozenset[str]:
        return frozenset(self.paths())

    def _index_stems(self) -> dict[str, list[str]]:
        if self._stems is None:
            self._stems = {}
            for path in self.paths():
                parts = path.split("/")
                stem = parts[-1].rsplit(".", 1)[0]
                if stem in ("__init__", "index", "mod") and len(parts) > 1:
                    stem = parts[-2]
                self._stems.setdefault(stem, []).append(path)
        return self._stems

    def _first(self, stems: tuple[str, ...], exact: bool) -> str | None:
        for stem in stems:
            options = [f"{stem}.py", f"{stem}/__init__.py", f"{stem}.pyi"]
            for path in self._index_stems().get(stem.rsplit("/", 1)[-1], []):
                for option in options:
                    if path == option or (not exact and path.endswith("/" + option)):
                        return path
        return None
