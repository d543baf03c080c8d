"""Git's ignore rules, matched in bounded time: the rules themselves may come from a hostile agent.

The format is that of gitignore(5). A library that turns patterns into regular expressions would let
one line of a repository stop the host for hours, so patterns are matched here in O(pattern x name), and
all matching of one scan together draws on a bounded number of steps.
"""

import msgspec

from overnight.domain.errors import PatchError

NEVER_EXPORTED = frozenset({"__pycache__", ".pytest_cache", "node_modules"})
"""Names that tools write beside the code; they are left out of patches even where nothing ignores them."""

MAX_BYTES = 256 * 1024
MAX_RULES = 1_000
MAX_PATTERN = 512
MAX_STEPS = 10_000_000
"""Characters compared in one scan of a workspace: some seconds; honest rules need a hundredth."""

_SPECIAL = frozenset("*?[\\")


class Rule(msgspec.Struct, frozen=True):
    """One line of an ignore file."""

    segments: tuple[str, ...]
    """The pattern, split at `/`; `**` as a whole segment stands for any number of directories."""
    negated: bool
    directories_only: bool


class Budget:
    """What matching may still cost; a thousand bad rules on thousands of long names would take days."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take `steps` away.

        Raises:
            PatchError: there are not as many left.
        """
        self.left -= steps
        if self.left < 0:
            raise PatchError(
                "The ignore files have too many or too costly patterns for so many files",
                "Shorten .gitignore, or remove the files that it is about.",
            )


def never_exported(name: str) -> bool:
    """Say whether a file or directory of this name stays out of patches by itself."""
    return name in NEVER_EXPORTED or name.endswith(".pyc")


def parse_rules(content: bytes) -> tuple[Rule, ...]:
    """Return the rules of an ignore file; what is beyond the size caps is left out."""
    text = content[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    rules: list[Rule] = []
    for raw in text.split("\n"):
        rule = _parse_line(raw.removesuffix("\r"))
        if rule is not None:
            rules.append(rule)
            if len(rules) >= MAX_RULES:
                break
    return tuple(rules)


def _parse_line(line: str) -> Rule | None:
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or len(line) > MAX_PATTERN or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line[1:] if negated else line
    directories_only = line.endswith("/")
    line = line.rstrip("/") if directories_only else line
    if not line:
        return None
    anchored = "/" in line
    segments = tuple(line.removeprefix("/").split("/"))
    return Rule(segments if anchored else ("**", *segments), negated, directories_only)


def as_bytes(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return names with a character for every byte: that is what git's `?` and `[...]` stand for."""
    return tuple(part.encode("utf-8", "surrogateescape").decode("latin-1") for part in parts)


class IgnoreRules:
    """The rules that hold in one directory: its own and those of the directories above it."""

    def __init__(
        self, levels: tuple[tuple[int, tuple[Rule, ...]], ...] = (), budget: Budget | None = None
    ) -> None:
        self._levels = levels
        """(depth of the directory with the ignore file, its rules), the deepest last."""
        self._budget = budget or Budget()

    def below(self, depth: int, content: bytes | None) -> "IgnoreRules":
        """Return the rules with those of an ignore file that lies `depth` directories deep."""
        rules = parse_rules(content) if content else ()
        return IgnoreRules((*self._levels, (depth, rules)), self._budget) if rules else self

    def ignores(self, parts: tuple[str, ...], is_directory: bool) -> bool:
        """Say whether the rules ignore a path, given that no directory above it is ignored.

        Raises:
            PatchError: this and what was asked before cost more than may be spent.
        """
        names = as_bytes(parts)
        for depth, rules in reversed(self._levels):
            relative = names[depth:]
            for rule in reversed(rules):
                if rule.directories_only and not is_directory:
                    continue
                if matches(rule.segments, relative, self._budget):
                    return not rule.negated
        return False


def matches(pattern: tuple[str, ...], parts: tuple[str, ...], budget: Budget | None = None) -> bool:
    """Match whole paths segment by segment. `**` matches any number of parts, at the end at least one."""
    budget = budget or Budget()
    if pattern and pattern[-1] == "**" and len(pattern) > 1:
        pattern = (*pattern[:-1], "*", "**") if pattern[-2] != "**" else pattern
    reachable = {0}
    for segment in pattern:
        budget.spend(1 + len(reachable))
        if segment == "**":
            reachable = set(range(min(reachable), len(parts) + 1))
        else:
            reachable = {
                at + 1 for at in reachable if at < len(parts) and match_segment(segment, parts[at], budget)
            }
        if not reachable:
            return False
    return len(parts) in reachable


def match_segment(pattern: str, name: str, budget: Budget | None = None) -> bool:
    """Match one name against `*`, `?`, `[...]` and backslash escapes, without exponential backtracking."""
    if _SPECIAL.isdisjoint(pattern):
        return pattern == name
    if pattern[0] == "*" and _SPECIAL.isdisjoint(pattern[1:]):
        return name.endswith(pattern[1:])
    return _match_wild(pattern, name, budget or Budget())


def _match_wild(pattern: str, name: str, budget: Budget) -> bool:
    at = where = 0
    star = retry = -1
    while where < len(name):
        # A bracket is read to its end at every look.
        budget.spend(len(pattern) - at if pattern.startswith("[", at) else 1)
        step = _match_one(pattern, at, name[where]) if at < len(pattern) else 0
        if at < len(pattern) and pattern[at] == "*":
            star, retry = at, where
            at += 1
        elif step:
            at += step
            where += 1
        elif star >= 0:
            retry += 1
            at, where = star + 1, retry
        else:
            return False
    return all(character == "*" for character in pattern[at:])


def _match_one(pattern: str, at: int, character: str) -> int:
    """Return how many characters of the pattern match `character` at `at`; 0 for no match."""
    head = pattern[at]
    if head == "?":
        return 1
    if head == "\\" and at + 1 < len(pattern):
        return 2 if pattern[at + 1] == character else 0
    if head == "[":
        end, inside = _bracket(pattern, at, character)
        if end:
            return end - at if inside else 0
    return 1 if head == character else 0


def _bracket(pattern: str, at: int, character: str) -> tuple[int, bool]:
    """Return the index after a `[...]` that begins at `at` (0 if it never ends), and whether it matches."""
    where = at + 1
    negated = where < len(pattern) and pattern[where] in "!^"
    where += negated
    first = where
    inside = False
    while where < len(pattern) and (pattern[where] != "]" or where == first):
        if pattern.startswith("[:", where) and (close := pattern.find(":]", where)) > 0:
            inside = inside or _in_class(pattern[where + 2 : close], character)
            where = close + 2
            continue
        where += pattern[where] == "\\" and where + 1 < len(pattern)
        low = high = pattern[where]
        if pattern.startswith("-", where + 1) and where + 2 < len(pattern) and pattern[where + 2] != "]":
            high = pattern[where + 2]
            where += 2
        inside = inside or low <= character <= high
        where += 1
    if where >= len(pattern):
        return 0, False
    return where + 1, inside != negated


def _in_class(name: str, character: str) -> bool:
    tests = {
        "alpha": character.isalpha(),
        "digit": character.isdigit(),
        "alnum": character.isalnum(),
        "lower": character.islower(),
        "upper": character.isupper(),
        "space": character.isspace(),
        "punct": character.isprintable() and not character.isalnum() and not character.isspace(),
        "xdigit": character in "0123456789abcdefABCDEF",
    }
    return tests.get(name, False)
