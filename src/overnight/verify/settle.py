"""Joins the runs of one check on one side: a test that both fails and passes is flaky, nothing more."""

from collections.abc import Sequence

import msgspec

from overnight.domain.verdict import CheckRun, Evidence, TestStatus

FAILING: frozenset[TestStatus] = frozenset({"failed", "error", "missing"})
COLLECTION = " (collection)"
"""Ends the name of a file or module that could not be collected; it stands for the tests in it."""
SET_UP = "(set-up)"
_WORST: tuple[TestStatus, ...] = ("error", "failed", "missing", "skipped")
_NOT_RUNNABLE = (126, 127)
_NO_TESTS = 5
"""pytest's and unittest's exit code when there was nothing to run."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A check before or after, over all its runs."""

    ran: bool
    green: bool
    finished: bool
    tests: dict[str, TestStatus]
    evidence: Evidence
    tampered: frozenset[str] = frozenset()
    limit: str | None = None
    steady: bool = True
    """False when the command itself both failed and passed."""
    output: str = ""
    seconds: float = 0.0

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of tests that failed in every run, sorted; those never reported count as failed."""
        return tuple(sorted(name for name, status in self.tests.items() if status in FAILING))

    @property
    def flaky(self) -> tuple[str, ...]:
        """Names of tests that both failed and passed, sorted."""
        return tuple(sorted(name for name, status in self.tests.items() if status == "flaky"))


def settle(runs: Sequence[CheckRun]) -> Side:
    """Return what the runs of one check, at least one, say together."""
    first = runs[0]
    names = {name for run in runs for name in run.tests}
    tests: dict[str, TestStatus] = {name: _join([run.tests.get(name) for run in runs]) for name in names}
    limits = [run.limit for run in runs]
    passed = [run.passed for run in runs]
    calm = not any(status in FAILING for status in tests.values())
    finished = all(run.finished for run in runs)
    well = any(run.exit_code == 0 for run in runs) or any(status == "flaky" for status in tests.values())
    return Side(
        ran=any(did_run(run) for run in runs),
        green=finished and calm and well and any(limit is None for limit in limits),
        finished=finished,
        tests=tests,
        evidence="per_test" if all(run.evidence == "per_test" for run in runs) else "exit_code",
        tampered=frozenset(name for run in runs for name in run.tampered),
        limit=first.limit if all(limits) else None,
        steady=len(set(passed)) == 1,
        output=first.output,
        seconds=first.seconds,
    )


def covers(target: str, test: str) -> bool:
    """Say whether `test` lies in the file or module that the collection target `target` names."""
    place = target.removesuffix(COLLECTION)
    if place == target or test.endswith(COLLECTION):
        return False
    return place in ("", ".") or test.startswith((f"{place}::", f"{place}.", f"{place} > ", f"{place}/"))


def _join(statuses: Sequence[TestStatus | None]) -> TestStatus:
    seen = {status for status in statuses if status is not None}
    if "flaky" in seen or ("passed" in seen and seen & FAILING):
        return "flaky"
    for status in _WORST:
        if status in seen:
            return status
    return "passed"


def did_run(run: CheckRun) -> bool:
    """Say whether the check did anything: its program was found, and its runner found tests."""
    if run.limit is not None or not run.finished:
        return True
    if run.evidence == "per_test":
        return bool(run.tests) or run.exit_code not in (0, _NO_TESTS)
    return run.exit_code not in _NOT_RUNNABLE
