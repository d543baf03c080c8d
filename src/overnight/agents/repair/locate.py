"""Where the fault may be: functions ranked by tracebacks, by what failing tests ran, and by words."""

import re
from collections.abc import Iterable

import msgspec

from overnight.agents.repair.codebase import Codebase, is_test
from overnight.agents.repair.failures import Failure, Report
from overnight.agents.repair.functions import Function
from overnight.agents.repair.missing import missing

MOST_FILES = 400
MOST_FAILURES = 12
SCRIPT_LINES = 20
_STOP = frozenset(
    [
        "the",
        "and",
        "for",
        "with",
        "that",
        "this",
        "from",
        "when",
        "have",
        "has",
        "not",
        "are",
        "was",
        "were",
        "should",
        "must",
        "will",
        "can",
        "test",
        "tests",
        "fix",
        "bug",
        "return",
        "returns",
        "value",
        "values",
        "none",
        "true",
        "false",
        "self",
        "error",
        "errors",
        "assert",
        "instead",
        "make",
        "code",
        "function",
        "method",
        "class",
        "file",
        "into",
        "than",
        "then",
        "only",
        "also",
        "does",
        "where",
        "which",
        "what",
        "its",
        "use",
        "used",
        "using",
        "import",
        "expected",
        "actual",
    ]
)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A place to change, and how much speaks for it."""

    function: Function
    score: float
    tests: tuple[str, ...] = ()
    """The failing tests that ran it, as far as known."""


def words_of(text: str) -> set[str]:
    """Return the telling words of a text in lower case, identifiers taken apart too."""
    found: set[str] = set()
    for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text):
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", word)
        for part in [word, *parts]:
            low = part.lower().strip("_")
            if len(low) > 2 and low not in _STOP:
                found.add(low)
    return found


def failing_function(codebase: Codebase, failure: Failure) -> tuple[Function, int] | None:
    """Return the failing test's function and the line in it where it failed, if they can be found.

    The line is 0 where only the name is known.
    """
    name = re.split(r"[\[\s(]", failure.test.split("::")[-1].rsplit(".", 1)[-1])[0]
    by_frame = None
    for frame in failure.frames:
        if is_test(frame.path) and codebase.has(frame.path):
            function = codebase.at(frame.path, frame.line)
            if function is not None and (by_frame is None or function.name == name):
                by_frame = (function, frame.line)
    if by_frame is not None:
        return by_frame
    path = failure.test.split("::")[0]
    paths = [path] if codebase.has(path) else [p for p in codebase.paths() if is_test(p)]
    for candidate in paths[:200]:
        if name in codebase.text(candidate):
            function = next((f for f in codebase.shape(candidate).functions if f.name == name), None)
            if function is not None:
                return function, 0
    return _script(codebase, failure)


def _script(codebase: Codebase, failure: Failure) -> tuple[Function, int] | None:
    """Return the lines of a plain script that lead to where it failed, as if they were a function."""
    for frame in failure.frames:
        if not codebase.has(frame.path):
            continue
        inner = codebase.at(frame.path, frame.line)
        if inner is not None:
            return (inner, frame.line) if not codebase.editable(frame.path) else None
        start = max(1, frame.line - SCRIPT_LINES)
        text = "\n".join(codebase.text(frame.path).split("\n")[start - 1 : frame.line])
        uses = frozenset(re.findall(r"[A-Za-z_]\w*", text))
        return Function(
            path=frame.path, name=frame.path, qualified=frame.path, start=start, end=frame.line,
            text=text, language=codebase.shape(frame.path).language, uses=uses,
        ), frame.line  # fmt: skip
    return None


def locate(
    codebase: Codebase, report: Report, traced: Report | None, prompt: str, most: int = 24
) -> list[Target]:
    """Return the places to change, best first."""
    failures = report.failures[:MOST_FAILURES]
    scores: dict[str, float] = {}
    tests: dict[str, list[str]] = {}
    known: dict[str, Function] = {}

    def add(function: Function | None, points: float, test: str = "") -> None:
        if function is None or not codebase.editable(function.path):
            return
        known[function.key] = function
        scores[function.key] = scores.get(function.key, 0.0) + points
        if test and test not in tests.setdefault(function.key, []):
            tests[function.key].append(test)

    for function, points, test in _from_frames(codebase, failures):
        add(function, points, test)
    for function, points, test in _from_trace(codebase, report, traced):
        add(function, points, test)
    for function, points, test in _from_calls(codebase, failures, traced):
        add(function, points, test)
    for function, points in _from_words(codebase, failures, prompt, set(known)):
        add(function, points)
    for function, points, test in missing(codebase, failures, prompt):
        add(function, points, test)
    for function, points in list(_constants(codebase, known, scores)):
        add(function, points)
    for key, function in known.items():
        scores[key] -= _drawback(function)
    order = sorted(known, key=lambda key: (-scores[key], key))[:most]
    return [Target(function=known[k], score=scores[k], tests=tuple(tests.get(k, ()))) for k in order]


def _from_frames(
    codebase: Codebase, failures: Iterable[Failure]
) -> Iterable[tuple[Function | None, float, str]]:
    for failure in failures:
        inner = [f for f in failure.frames if not is_test(f.path) and codebase.has(f.path)]
        weight = 1.0 / (1 + 0.25 * len(inner))
        for depth, frame in enumerate(reversed(inner[-12:])):
            yield (
                codebase.at(frame.path, frame.line),
                (4.5 if depth == 0 else 1.2) * max(weight, 0.4),
                failure.test,
            )
        for name in re.findall(r"(\w+)\(\) (?:got an unexpected|missing \d|takes )", failure.message):
            for path in codebase.closure([failure.test.split("::")[0]], hops=2, limit=60):
                for function in codebase.shape(path).functions:
                    if function.name == name or (
                        name == "__init__" and function.qualified.endswith("__init__")
                    ):
                        yield function, 3.0 if function.name == name else 1.0, failure.test


def _from_trace(
    codebase: Codebase, report: Report, traced: Report | None
) -> Iterable[tuple[Function | None, float, str]]:
    """Ochiai: what failing tests ran and passing ones did not is more suspicious."""
    if traced is None:
        return
    failing: dict[str, set[str]] = {}
    passing: dict[str, int] = {}
    known: dict[str, Function] = {}
    failed = traced.failed & report.failed
    for test, calls in traced.calls.items():
        keys: set[str] = set()
        for call in calls:
            function = codebase.at(call.path, call.line)
            if function is not None:
                known[function.key] = function
                keys.add(function.key)
        for key in keys:
            if test in failed:
                failing.setdefault(key, set()).add(test)
            elif test in traced.passed:
                passing[key] = passing.get(key, 0) + 1
    for key, tests in failing.items():
        suspicion = len(tests) / (len(failed) * (len(tests) + passing.get(key, 0))) ** 0.5
        for test in sorted(tests):
            yield known[key], 3.0 * suspicion / len(tests), test


def _from_calls(
    codebase: Codebase, failures: Iterable[Failure], traced: Report | None
) -> Iterable[tuple[Function | None, float, str]]:
    """What the failing tests call by name, directly or over up to three hops."""
    for failure in list(failures)[:4]:
        found = failing_function(codebase, failure)
        if found is None:
            continue
        test, line = found
        asserted = test.text.split("\n")[line - test.start] if test.start <= line <= test.end else ""
        files = codebase.closure([test.path], hops=3, limit=120)
        by_name: dict[str, list[Function]] = {}
        for path in files:
            if codebase.editable(path):
                for function in codebase.shape(path).functions:
                    by_name.setdefault(function.name, []).append(function)
                    if function.name in ("__init__", "__post_init__", "constructor", "new", "__call__"):
                        by_name.setdefault(function.owner, []).append(function)
        seen: set[str] = set()
        frontier = [test]
        for points in (1.0, 0.5, 0.25) if traced is None or not traced.calls else (0.7,):
            following: list[Function] = []
            for name in {n for function in frontier for n in function.uses}:
                matches = by_name.get(name, [])
                for function in matches[:8]:
                    if function.key in seen or function.kind == "constant":
                        continue
                    seen.add(function.key)
                    following.append(function)
                    bonus = 0.5 if re.search(rf"\b{re.escape(function.name)}\b", asserted) else 0.0
                    bonus += 0.4 if function.name.lower().strip("_") in test.name.lower() else 0.0
                    yield function, (points + bonus) / len(matches) ** 0.5, failure.test
            frontier = following[:60]


def _from_words(
    codebase: Codebase, failures: Iterable[Failure], prompt: str, known: set[str]
) -> Iterable[tuple[Function, float]]:
    """Names and words that the task and the failing tests' names share with functions."""
    prompt_words = words_of(prompt[:4000])
    wanted = prompt_words | {w for f in failures for w in words_of(f.test.split("::")[-1])}
    if not wanted:
        return
    paths = [key.split("::")[0] for key in known] or codebase.mentioning(sorted(wanted))
    mentioned = set(re.findall(r"[A-Za-z_]\w*", prompt[:4000]))
    named_files = [p for p in codebase.paths() if codebase.editable(p) and p.rsplit("/", 1)[-1] in prompt]
    for path in list(dict.fromkeys([*named_files[:20], *paths]))[:60]:
        for function in codebase.shape(path).functions:
            points = 0.0
            distinct = (
                "_" in function.name.strip("_")
                or f"{function.name}(" in prompt
                or f"`{function.name}`" in prompt
            )
            if function.name in mentioned and len(function.name) > 2:
                points += 1.5 if distinct else 0.6
            if path in named_files:
                points += 0.6
            have = words_of(f"{function.qualified} {function.docstring[:600]}")
            points += 0.8 * len(have & wanted) / (len(wanted) ** 0.5 + 2)
            body = words_of(function.text[:3000]) - have
            points += 0.3 * len(body & prompt_words) / (len(wanted) ** 0.5 + 2)
            if points > 0.05:
                yield function, min(points, 2.2)


def _constants(
    codebase: Codebase, known: dict[str, Function], scores: dict[str, float]
) -> Iterable[tuple[Function, float]]:
    """Tables and settings that suspicious functions of the same file use."""
    for path in {f.path for f in list(known.values())}:
        file = codebase.shape(path)
        for constant in (f for f in file.functions if f.kind == "constant" and f.key not in known):
            users = [scores[f.key] for f in known.values() if f.path == path and constant.name in f.uses]
            if users:
                yield constant, 0.45 * max(users) + (0.2 if constant.lines > 1 else 0.0)


def _drawback(function: Function) -> float:
    if function.kind == "missing":
        return 0.0
    if function.lines > 120:
        return 1.5
    if function.kind == "function" and function.lines <= 3:
        return 0.3
    return 0.3 if function.lines > 60 else 0.0
