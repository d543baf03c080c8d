"""What a run of the checks said: tests, failures and tracebacks, from the probe's records or plain output."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

PASSED = "passed"
FAILED = "failed"
ERROR = "error"
SKIPPED = "skipped"


class Frame(msgspec.Struct, frozen=True):
    """One line of a traceback: a path relative to the repository, a line from 1, and the values there."""

    path: str
    line: int
    function: str
    values: Mapping[str, str] = {}


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one test failed. `frames` are the repository's own, outermost first."""

    test: str
    exception: str = ""
    message: str = ""
    frames: tuple[Frame, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """A function that a test ran, by path and first line, with a few `(arguments) -> result`."""

    path: str
    line: int
    name: str
    samples: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run of checks. `tests` is empty where nothing is known but the exit codes."""

    exit_codes: tuple[int, ...]
    tests: Mapping[str, str] = {}
    failures: tuple[Failure, ...] = ()
    calls: Mapping[str, tuple[Call, ...]] = {}
    """By test, what it ran; only of a traced run."""
    output: str = ""
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds of the slowest test."""
    limit: str | None = None
    probed: bool = False
    """Whether the tests were reported by the probe, so that single ones can be chosen."""

    @property
    def green(self) -> bool:
        """True if every check ended well and no test failed."""
        return all(code == 0 for code in self.exit_codes) and not self.failed

    @property
    def failed(self) -> frozenset[str]:
        """The tests that do not pass, collection errors included."""
        return frozenset(name for name, status in self.tests.items() if status in (FAILED, ERROR))

    @property
    def passed(self) -> frozenset[str]:
        """The tests that pass."""
        return frozenset(name for name, status in self.tests.items() if status == PASSED)


def merge(reports: Iterable[Report]) -> Report:
    """Put the reports of several checks together."""
    every = list(reports)
    return Report(
        exit_codes=tuple(code for r in every for code in r.exit_codes),
        tests={name: status for r in every for name, status in r.tests.items()},
        failures=tuple(f for r in every for f in r.failures),
        calls={name: calls for r in every for name, calls in r.calls.items()},
        output="\n".join(r.output for r in every if r.output),
        seconds=sum(r.seconds for r in every),
        slowest=max((r.slowest for r in every), default=0.0),
        limit=next((r.limit for r in every if r.limit), None),
        probed=any(r.probed for r in every),
    )


READ_CHARACTERS = 1024 * 1024
LINE_CHARACTERS = 2_000
_GAP = re.compile(r"[^\S\n]{40,}|\n{8,}")
"""Longer ones cost the patterns below the square of their length, and say nothing."""


def bounded(text: str) -> str:
    """Return what of an output is worth reading: both its ends, lines cut off, wide gaps narrowed.

    It comes from code that nobody trusts, and the patterns below run on the host.
    """
    if len(text) > READ_CHARACTERS:
        # The verdicts stand at the end.
        text = f"{text[: READ_CHARACTERS // 4]}\n…\n{text[-READ_CHARACTERS * 3 // 4 :]}"
    text = "\n".join(line.rstrip()[:LINE_CHARACTERS] for line in text.splitlines())
    return _GAP.sub(lambda found: found[0][:40] if found[0][0] != "\n" else "\n" * 8, text)


def read(output: str, mark: str, exit_code: int) -> Report:
    """Read what a check printed: the probe's records where there are any, else the runner's own words."""
    records: list[dict[str, Any]] = []
    plain: list[str] = []
    for line in output.splitlines():
        place = line.find(mark) if mark else -1
        if place < 0:
            plain.append(line)
            continue
        try:
            record = msgspec.json.decode(line[place + len(mark) :])
        except msgspec.DecodeError:
            continue
        if isinstance(record, dict):
            records.append(cast("dict[str, Any]", record))
    text = bounded(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "\n".join(plain)))
    if any(r.get("k") == "test" for r in records):
        # The tested code can write records too, of any form: then the runner's words are read.
        with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError, OverflowError):
            return _from_records(records, text, exit_code)
    tests = test_lines(text)
    failures = text_failures(text)
    for failure in failures:
        tests.setdefault(failure.test, FAILED)
    return Report(exit_codes=(exit_code,), tests=tests, failures=tuple(failures), output=text)


def _from_records(records: list[dict[str, Any]], text: str, exit_code: int) -> Report:
    tests: dict[str, str] = {}
    failures: dict[str, Failure] = {}
    calls: dict[str, tuple[Call, ...]] = {}
    started: str | None = None
    slowest = 0.0
    for record in records:
        name = str(record.get("t", ""))
        kind = record.get("k")
        if kind == "start":
            started = name
        elif kind == "time":
            started = None
            slowest = max(slowest, float(record.get("n") or 0))
        elif kind == "test":
            status = str(record.get("s", FAILED))
            # A failing subtest or teardown comes before or after the test's own word: the worst stands.
            if tests.get(name) not in (FAILED, ERROR):
                tests[name] = status
            if status in (FAILED, ERROR) and name not in failures:
                failures[name] = Failure(
                    test=name,
                    exception=str(record.get("e", "")),
                    message=str(record.get("m", "")),
                    frames=tuple(_frame(f) for f in record.get("f") or ()),
                )
        elif kind == "trace":
            calls[name] = tuple(_call(c) for c in record.get("x") or ())
    if started is not None and started not in tests:
        tests[started] = ERROR
        failures[started] = Failure(test=started, exception="Timeout", message="the test did not end")
    return Report(
        exit_codes=(exit_code,),
        tests=tests,
        failures=tuple(failures.values()),
        calls=calls,
        output=text,
        slowest=slowest,
        probed=True,
    )


def _frame(raw: Any) -> Frame:
    values = cast("dict[str, Any]", raw[3]) if len(raw) > 3 else {}
    shown = {str(name): str(value) for name, value in values.items()}
    return Frame(str(raw[0]), int(raw[1]), str(raw[2]), shown)


def _call(raw: Any) -> Call:
    samples = cast("list[Any]", raw[3]) if len(raw) > 3 else []
    return Call(str(raw[0]), int(raw[1]), str(raw[2]), tuple(str(s) for s in samples))


_LINES: tuple[tuple[str, int, int, dict[str, str]], ...] = (
    # pytest -rA / -v
    (r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL)\s+(\S+::[^\n]*?)(?: - .*)?$", 2, 1, {"XFAIL": PASSED}),
    (r"^(\S+::\S.*?)\s+(PASSED|FAILED|ERROR|SKIPPED)\s*(?:\[\s*\d+%\])?$", 1, 2, {}),
    # unittest -v
    (r"^(\w+ \([\w.<>]+\))[^\n]*\.\.\. (ok|FAIL|ERROR|skipped)", 1, 2, {"ok": PASSED, "FAIL": FAILED}),
    # go test -v and plain
    (r"^\s*--- (PASS|FAIL|SKIP): (\S+)", 2, 1, {"PASS": PASSED, "FAIL": FAILED, "SKIP": SKIPPED}),
    # cargo test
    (r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", 1, 2, {"ok": PASSED, "ignored": SKIPPED}),
    # TAP: node --test, prove, bats
    (r"^\s*(ok|not ok) \d+ (?:- )?(.+?)(?: # .*)?$", 2, 1, {"ok": PASSED, "not ok": FAILED}),
    # spec reporters: node, jest, mocha, vitest
    (r"^\s*(✔|✓|√|✖|✗|×|✕) (.+?)(?: \([\d.]+ ?m?s\))?$", 2, 1,
     {"✔": PASSED, "✓": PASSED, "√": PASSED, "✖": FAILED, "✗": FAILED, "×": FAILED, "✕": FAILED}),
)  # fmt: skip


def test_lines(text: str) -> dict[str, str]:
    """Return the tests that a runner listed, with their status, as far as its format is known."""
    tests: dict[str, str] = {}
    for pattern, name_group, status_group, words in _LINES:
        for match in re.finditer(pattern, text, re.MULTILINE):
            word = match[status_group]
            status = words.get(word, word.lower())
            name = match[name_group].strip()
            if tests.get(name) not in (FAILED, ERROR):
                tests[name] = status
    return tests


def text_failures(text: str) -> list[Failure]:
    """Return failures by their tracebacks and assertion lines in plain output, whatever the runner."""
    found: list[Failure] = []
    sections = re.split(
        r"(?m)^(?=_{3,} .+ _{3,}$|={10,}\n(?:FAIL|ERROR): |--- FAIL: |not ok |---- .+ stdout ----)", text
    )
    for section in sections:
        head = re.match(
            r"_{3,} (?:ERROR (?:collecting|at \w+ of) )?(.+?) _{3,}|={10,}\n(?:FAIL|ERROR): (.+)"
            r"|--- FAIL: (\S+)|not ok \d+ (?:- )?(.+)|---- (.+) stdout ----",
            section,
        )
        frames = _text_frames(section)
        if head is None and not frames:
            continue
        message = _message(section)
        name = next((g for g in head.groups() if g), "") if head else "(check)"
        exception = re.match(r"([A-Za-z_][\w.]*(?:Error|Exception|Exit|Warning|Interrupt))\b", message)
        found.append(
            Failure(
                test=name.strip(),
                exception=exception[1].rsplit(".", 1)[-1] if exception else "",
                message=message,
                frames=tuple(frames),
            )
        )
    return found


def _text_frames(section: str) -> list[Frame]:
    frames = [
        Frame(_relative(match[1]), int(match[2]), match[3] or "")
        for match in re.finditer(r'^\s*File "([^"]+)", line (\d+)(?:, in (\S+))?', section, re.MULTILINE)
    ]
    if not frames:
        # `path.ext:12` with perhaps a column: pytest, go, cargo, node, compilers.
        frames = [
            Frame(_relative(match[1].removeprefix("file://")), int(match[2]), "")
            for match in re.finditer(r"(?:^|[\s(])((?:file://)?[\w./@-]+\.\w{1,4}):(\d+)(?::\d+)?", section)
        ]
    inner = [f for f in frames if f.path and not f.path.startswith("/")]
    if re.search(r"(?m)^\s+at .+:\d+:\d+\)?$", section):
        inner.reverse()  # JavaScript lists the innermost frame first
    return inner[:40]


def _relative(path: str) -> str:
    for root in ("/workspace/", "./"):
        if path.startswith(root):
            return path[len(root) :]
    return path


def _message(section: str) -> str:
    lines = [line[1:].strip() for line in section.splitlines() if re.match(r"E\s", line)]
    if not lines:
        lines = [
            line.strip()
            for line in section.splitlines()
            if re.match(
                r"\s*(?:[\w.]*(?:Error|Exception)\b|assert|thread .* panicked|left:|right:|[+-] )",
                line,
            )
            or re.search(r"\b(got|want|expected|actual)\b", line)
        ]
    return "\n".join(lines[:12])[:2000]
