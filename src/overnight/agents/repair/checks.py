"""Runs the assignment's checks in the sandbox, with the probe where the runner takes one; compares runs."""

import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from overnight.agents.interface import Assignment
from overnight.agents.repair.codebase import is_test
from overnight.agents.repair.failures import Failure, Report, merge, read
from overnight.domain.events import CommandEnded, CommandOutput, CommandStarted
from overnight.domain.ids import new_id
from overnight.sandbox.interface import Command

FIRST_TEST_SECONDS = 60.0
"""Bound on one test in the first run; later ones get a multiple of what the slowest took."""
OUTPUT_KEPT = 20_000
"""Characters of a check's output that become events."""
MAX_CHOSEN = 200
"""Tests named one by one; more than that and the whole check is run."""

Effect = Literal["solved", "better", "farther", "same", "worse"]

_SCRIPT = """\
export OVERNIGHT_ROOT="$PWD" PYTHONDONTWRITEBYTECODE=1
probe=$(mktemp -d 2>/dev/null) && cat >"$probe/overnight_probe.py"
{extra}
exec 9>&1
{{ {check}
}} </dev/null
code=$?
rm -rf "$probe"
exit $code
"""
_PYTEST = """\
export PYTHONPATH="$probe${PYTHONPATH:+:$PYTHONPATH}"
export PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-} -p overnight_probe -p no:cacheprovider --color=no"\
"""
_UNITTEST = """\
printf 'try:\\n    import overnight_probe\\n    overnight_probe.hook_unittest()\\nexcept Exception: pass\\n' \
>"$probe/sitecustomize.py"
export PYTHONPATH="$probe${PYTHONPATH:+:$PYTHONPATH}"\
"""


def runner_of(check: str) -> str:
    """Return which probe fits a check: `pytest`, `unittest`, or nothing."""
    if re.search(r"\bunittest\b|\bmanage\.py\s+test\b", check):
        return "unittest"
    if re.search(r"\b(?:py\.?test|tox|nox|make|just|hatch|poetry|pdm|uv)\b|\.sh\b", check):
        return "pytest"
    return ""


class Checks:
    """The checks of one assignment, as repair runs them: often, on the agent's own workspace."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._source = Path(__file__).with_name("probe.py").read_bytes()
        self._slowest = 0.0
        self._longest = 0.0
        self._probed = False

    async def baseline(self) -> Report:
        """Run every check on the code as it stands, with generous bounds that later runs are derived from."""
        report = await self._run_all("check", (), trace=False, test_seconds=FIRST_TEST_SECONDS)
        self._slowest = report.slowest
        self._longest = report.seconds
        self._probed = report.probed
        return report

    async def trace(self, report: Report) -> Report | None:
        """Run the failing tests, and those beside them, under the tracer; None where that is not possible."""
        if not report.probed or not report.failed:
            return None
        files = {name.split("::")[0] for name in report.failed}
        chosen = [*sorted(report.failed)[:MAX_CHOSEN]]
        beside = [name for name in sorted(report.passed) if name.split("::")[0] in files]
        chosen += beside[: max(0, MAX_CHOSEN - len(chosen))]
        return await self._run_all("locate", chosen, trace=True, test_seconds=4 * self._test_seconds())

    async def failing(self, report: Report) -> Report | None:
        """Run only the tests that `report` saw failing; None where single tests cannot be chosen."""
        if not self._probed or not report.failed or len(report.failed) > MAX_CHOSEN:
            return None
        if len(report.passed) < 4 and self._longest < 2.0:
            return None  # the whole is as cheap
        return await self._run_all(
            "check", sorted(report.failed), trace=False, test_seconds=self._test_seconds()
        )

    async def everything(self) -> Report:
        """Run every check."""
        return await self._run_all("check", (), trace=False, test_seconds=self._test_seconds())

    def _test_seconds(self) -> float:
        slowest = self._slowest if self._slowest < FIRST_TEST_SECONDS else 1.0
        return max(3.0, 6 * slowest)

    async def _run_all(self, purpose: str, only: Iterable[str], trace: bool, test_seconds: float) -> Report:
        reports = [
            await self._run(check, purpose, tuple(only), trace, test_seconds)
            for check in self._assignment.checks
        ]
        return merge(reports)

    async def _run(
        self, check: str, purpose: str, only: tuple[str, ...], trace: bool, seconds: float
    ) -> Report:
        assignment = self._assignment
        mark = f"OVERNIGHT-{secrets.token_hex(8)} "
        runner = runner_of(check)
        probe = {
            "mark": mark,
            "only": only,
            "trace": trace,
            "test_seconds": seconds,
            "runner": runner,
            "fd": 9,
        }
        extra = {"pytest": _PYTEST, "unittest": _UNITTEST}.get(runner, "")
        bound = assignment.limits.command_seconds
        if self._longest and not trace:
            bound = min(bound, max(20.0, 5 * self._longest + 10))
        command_id = new_id()
        assignment.events.emit(CommandStarted(command_id=command_id, command=check, purpose=purpose))
        result = await assignment.sandbox.run(
            Command(
                script=_SCRIPT.format(extra=extra, check=check),
                stdin=self._source if runner else b"",
                variables={"OVERNIGHT_PROBE": msgspec.json.encode(probe).decode()},
                seconds=bound,
            )
        )
        output = (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace")
        report = read(output, mark, result.exit_code)
        assignment.events.emit(
            CommandOutput(command_id=command_id, stream="stdout", text=report.output.strip()[-OUTPUT_KEPT:])
        )
        assignment.events.emit(
            CommandEnded(
                command_id=command_id,
                exit_code=result.exit_code,
                seconds=round(result.seconds, 3),
                limit=result.limit,
            )
        )
        return msgspec.structs.replace(report, seconds=result.seconds, limit=result.limit)


def badness(report: Report) -> tuple[int, int, int]:
    """Return how bad a run is, to compare: failed checks if no test is known, broken files, failing tests."""
    broken = sum(1 for name, status in report.tests.items() if status == "error" and "::" not in name)
    unknown = sum(1 for code in report.exit_codes if code != 0) if not report.failed else 0
    return (broken, len(report.failed), unknown)


def effect(before: Report, after: Report) -> Effect:
    """Judge a full run against the one before the edit.

    `farther` means that the same tests fail, but later in their own code, and nothing else changed.
    """
    if after.limit is not None and before.limit is None:
        return "worse"
    if before.passed - after.passed:
        return "worse"
    if after.green and not before.green:
        return "solved"
    if badness(after) < badness(before):
        return "better"
    if badness(after) > badness(before):
        return "worse"
    return progress(before.failures, after.failures)


def progress(before: Iterable[Failure], after: Iterable[Failure]) -> Literal["farther", "same", "worse"]:
    """Say whether failing tests got farther through their own lines than before."""
    old = {f.test: reached(f) for f in before}
    new = {f.test: reached(f) for f in after}
    both = [t for t in new if t in old and new[t][0] == old[t][0]]
    if any(new[t][1] < old[t][1] for t in both):
        return "worse"
    return "farther" if any(new[t][1] > old[t][1] for t in both) else "same"


def reached(failure: Failure) -> tuple[str, int]:
    """Return the function and line of the test's own code where it failed; line 0 if unknown."""
    own = [f for f in failure.frames if is_test(f.path)]
    return (own[0].function, own[0].line) if own else ("", 0)
