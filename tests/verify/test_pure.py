"""The parts that need no sandbox: sealed records, the table's corners, shadows, ranking, evidence."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from overnight.domain.patch import REGULAR, FileChange
from overnight.domain.task import Attempt, PatchStats
from overnight.domain.verdict import CheckRun, CheckVerdict, Finding, TestStatus, Verdict
from overnight.verify.evidence import evidence
from overnight.verify.judge import CheckRuns, judge, unverified
from overnight.verify.rank import rank
from overnight.verify.runners.channel import Channel, Session
from overnight.verify.runners.node import recognise
from overnight.verify.runners.python import rewrite
from overnight.verify.shadows import divide
from overnight.verify.verifier import looks_like_test


def run(exit_code: int = 0, limit: str | None = None, **tests: TestStatus) -> CheckRun:
    evidence = "per_test" if tests else "exit_code"
    return CheckRun(
        command="c", exit_code=exit_code, seconds=1.0, evidence=evidence, tests=tests, limit=limit
    )


def find(base: CheckRun | list[CheckRun], candidate: CheckRun | list[CheckRun]) -> Verdict:
    before = tuple(base) if isinstance(base, list) else (base,)
    after = tuple(candidate) if isinstance(candidate, list) else (candidate,)
    return judge([CheckRuns(command="c", base=before, candidate=after)])


@pytest.mark.parametrize(
    ("base", "candidate", "finding"),
    [
        (run(1, a="failed"), run(0, a="passed"), "verified"),
        (run(1, a="failed"), run(0, a="skipped"), "not_verified"),
        (run(1, a="failed", b="failed"), run(1, a="passed", b="failed"), "improved"),
        (run(1, a="failed", b="passed"), run(0, a="passed"), "not_verified"),
        (run(1, a="failed", b="passed"), run(1, a="passed", b="failed"), "regressed"),
        (run(1, a="failed"), run(1, a="passed"), "improved"),
        (run(1, a="failed"), run(1, a="passed", new="failed"), "improved"),
        (run(0, a="passed"), run(0, a="passed"), "checks_hold"),
        (run(0, a="passed"), run(1, a="passed", new="failed"), "not_verified"),
        (run(0, a="passed"), run(1, a="passed"), "regressed"),
        (run(0, a="passed"), run(0), "not_verified"),
        (run(0, a="passed", s="skipped"), run(0, a="passed", s="skipped"), "checks_hold"),
        (run(1), run(0), "verified"),
        (run(0), run(1), "regressed"),
        (run(1), run(1), "not_verified"),
        (run(127), run(0), "not_verified"),
        (run(1, limit="command_seconds"), run(0), "verified"),
        (run(0), run(-9, limit="command_seconds"), "regressed"),
        ([run(1, a="failed"), run(0, a="passed")], run(0, a="passed"), "checks_hold"),
        ([run(1), run(0)], run(0), "checks_hold"),
        (run(0, a="passed"), [run(1, a="failed"), run(0, a="passed")], "checks_hold"),
    ],
)
def test_table(base: CheckRun | list[CheckRun], candidate: CheckRun | list[CheckRun], finding: str) -> None:
    if isinstance(base, CheckRun) and base.exit_code == 127:
        assert find(base, candidate).checks[0].before == "did not run"
        return
    assert find(base, candidate).finding == finding


def test_unverified_is_never_verified() -> None:
    assert unverified().finding == "unverified"
    assert not unverified().verified


def sealed(channel: Channel, folder: Path, *records: dict[str, object], take: bool = True) -> Path:
    """Write records as the programs inside do."""
    root = next(folder.glob("channel-*/results"))
    key_file = sorted((root / "keys").iterdir())[0]
    key, last, lines = key_file.read_bytes(), b"", list[bytes]()
    if take:
        key_file.unlink()
    for record in records:
        text = json.dumps(record).encode()
        last = hmac.digest(key, last + text, hashlib.sha256).hex().encode()
        lines.append(last + b" " + text + b"\n")
    path = root / "out" / key_file.name
    path.write_bytes(b"".join(lines))
    return path


RECORDS: tuple[dict[str, object], ...] = (
    {"kind": "begin", "runner": "pytest"},
    {"kind": "collected", "ids": ["a", "b"]},
    {"kind": "test", "id": "a", "status": "passed"},
    {"kind": "end", "tests": 1},
)


def test_a_whole_chain_is_believed(tmp_path: Path) -> None:
    channel = Channel(tmp_path, None, mounted=True)
    assert channel.sessions() == []
    sealed(channel, tmp_path, *RECORDS)
    assert channel.sessions() == [
        Session(runner="pytest", tests={"a": "passed", "b": "missing"}, finished=True)
    ]
    channel.close()
    assert list(tmp_path.iterdir()) == []


def test_a_changed_chain_is_not_believed(tmp_path: Path) -> None:
    channel = Channel(tmp_path, None, mounted=True)
    path = sealed(channel, tmp_path, *RECORDS)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for forged in (
        b"".join(lines[:-1]),
        b"".join([*lines[:2], lines[3]]),
        whole.replace(b"passed", b"failed"),
        whole + b'00 {"kind": "end", "tests": 1}\n',
        b"",
        b"junk",
    ):
        path.write_bytes(forged)
        assert not all(session.finished for session in channel.sessions()), forged
    path.unlink()
    assert [session.finished for session in channel.sessions()] == [False]
    path.symlink_to("/etc/passwd")
    assert [session.finished for session in channel.sessions()] == [False]


def test_a_count_that_does_not_fit_is_not_believed(tmp_path: Path) -> None:
    channel = Channel(tmp_path, None, mounted=True)
    sealed(channel, tmp_path, *RECORDS[:-1], {"kind": "end", "tests": 2})
    assert [session.finished for session in channel.sessions()] == [False]


def test_divide_keeps_what_is_no_test() -> None:
    base = {"pkg/__init__.py", "pkg/a.py", "tests/test_a.py"}
    new = [
        "pkg/types.py",
        "tests/test_b.py",
        "tests/test_a/__init__.py",
        "tests/test_a.x.so",
        "pkg/a.pyc",
        "tests",
    ]
    changes = [FileChange(path=path, mode=REGULAR, content=b"") for path in new]
    kept, restored = divide(changes, base, lambda path: path == "tests/test_a.py")
    assert [change.path for change in kept] == ["pkg/types.py", "tests/test_b.py"]
    assert restored == sorted(new[2:])


def attempt(number: int, finding: Finding | None, added: int = 1) -> Attempt:
    return Attempt(
        id=str(number),
        task_id="t",
        number=number,
        agent="repair",
        model="m",
        state="succeeded",
        created_at=0.0,
        patch=PatchStats(commit="c", branch="b", digest="d", files=("a",), added=added),
        verdict=None if finding is None else Verdict(finding=finding, reason="."),
    )


def test_rank_by_evidence_then_size_then_number() -> None:
    attempts = [
        attempt(1, None),
        attempt(2, "regressed"),
        attempt(3, "checks_hold"),
        attempt(4, "verified", 9),
        attempt(5, "verified", 2),
        attempt(6, "verified", 2),
        attempt(7, "improved"),
    ]
    ranked = rank(attempts)
    assert [entry.attempt.number for entry in ranked] == [5, 6, 4, 7, 3, 2, 1]
    assert ranked[0].reason == "verified, +2 -0 in 1 file"


def test_evidence_is_markdown_that_output_cannot_leave() -> None:
    check = CheckVerdict(
        command="a | `b`",
        before="green",
        after="red",
        seconds=1.25,
        evidence="exit_code",
        regressed=("x",),
        output="```\n# forged\n\x1b[31mred\x1b[0m \u202e end\x07\n",
    )
    text = evidence(Verdict(finding="regressed", reason="Why.", checks=(check,)))
    assert "| `` a \\| `b` `` | green | red | exit code only | 1.2 |" in text
    assert "\n````\n```\n# forged\nred \ufffd end\ufffd\n````" in text
    assert text.startswith("**Regressed.** Why.")


def test_recognition() -> None:
    assert recognise("npm test", lambda _: b'{"scripts": {"test": "node --test"}}')
    assert not recognise("npm test", lambda _: b'{"scripts": {"test": "jest"}}')
    assert not recognise("node --test --test-reporter=tap", lambda _: None)
    assert rewrite("A=1 PYTHONPATH=src pytest", "/i") == "A=1 PYTHONPATH=/i:src pytest"
    assert looks_like_test("pkg/test_a.py")
    assert looks_like_test("web/a.spec.ts")
    assert not looks_like_test("pkg/contest.py")


def test_a_limit_is_named_with_the_finding() -> None:
    verdict = find(run(1, a="failed"), run(137, limit="memory_bytes", a="missing"))
    assert verdict.finding == "not_verified"
    assert "memory_bytes" in verdict.reason


def test_what_could_not_run_is_told_from_what_found_no_tests() -> None:
    assert "was not found in the sandbox" in find(run(127), run(127)).reason
    empty = CheckRun(command="c", exit_code=5, seconds=1.0, evidence="per_test")
    assert "found no tests" in find(empty, empty).reason
