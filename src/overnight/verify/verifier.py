"""Clean-room verification: every check on the base and with the patch, never where the agent worked."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from overnight.domain.events import CheckCompleted, CheckStarted, LimitHit, Noted, VerdictReached
from overnight.domain.patch import FileChange
from overnight.domain.ports import EventSink, Redaction
from overnight.domain.verdict import CheckRun, Verdict
from overnight.environments.protected import is_protected
from overnight.verify.base_runs import BaseRuns
from overnight.verify.clean_room import CleanRoom
from overnight.verify.compare import Comparison, compare, named
from overnight.verify.judge import NO_CHECKS, CheckRuns, judge, not_verified
from overnight.verify.settle import did_run, settle
from overnight.verify.shadows import divide

LONG_SECONDS = 60.0
"""A check that takes longer is run again once at most."""


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that verification needs of one attempt."""

    checks: tuple[str, ...]
    changes: tuple[FileChange, ...]
    snapshot: str
    """The key of the base snapshot, under which base runs are kept."""
    room: CleanRoom
    base_runs: BaseRuns
    events: EventSink
    redaction: Redaction | None = None
    """Takes secrets out of what checks printed, before it is kept."""
    protected: tuple[str, ...] = ()
    """As `protected_patterns` of the environment returns them."""
    allow_test_changes: bool = False
    """A person's word, never the agent's: nothing is protected, and tests may go away."""
    reruns: int = 2
    """How often a check may be run again on each side to tell flaky from broken."""


async def verify(request: VerifyRequest) -> Verdict:
    """Judge a patch, and emit the checks and the verdict as events.

    Raises:
        PatchError: the patch cannot be written into a workspace.
        SandboxUnavailableError: the sandbox cannot start.
    """
    verdict = await _Verification(request).verdict()
    request.events.emit(VerdictReached(verdict=verdict))
    return verdict


def looks_like_test(path: str) -> bool:
    """Say whether a new file is a test by the conventions of the known runners."""
    place = PurePosixPath(path)
    name, stem = place.name, place.name.split(".")[0]
    if any(part in ("test", "tests", "__tests__", "spec") for part in place.parts[:-1]):
        return True
    return (
        stem.startswith("test_")
        or stem.endswith(("_test", "_tests", "_spec"))
        or ".test." in name
        or ".spec." in name
    )


class _Verification:
    def __init__(self, request: VerifyRequest) -> None:
        self._request = request
        self._room = request.room

        self._files: frozenset[str] = frozenset()

    def _guards(self, path: str) -> bool:
        """Say whether a patch, or the checked code while it runs, must leave `path` alone."""
        request = self._request
        return not request.allow_test_changes and is_protected(path, request.protected, self._files)

    async def verdict(self) -> Verdict:
        request = self._request
        if not request.checks:
            return not_verified(NO_CHECKS)
        if not request.changes:
            return not_verified("The patch is empty: there is nothing to verify.")
        kept, restored = self._divide()
        if not kept:
            return not_verified(
                f"The patch changes only protected files, put back from the base: {named(restored)}. "
                "A person can allow such changes by --allow-test-changes.",
                restored,
            )
        runs = [await self._both_sides(check, kept) for check in request.checks]
        verdict = judge(runs, restored, request.allow_test_changes, self._room.beside)
        if verdict.finding == "checks_hold":
            tests = [
                change
                for change in kept
                if change.content is not None
                and change.path not in self._files
                and looks_like_test(change.path)
            ]
            if tests:
                runs = [await self._with_new_tests(check_runs, tests) for check_runs in runs]
                verdict = judge(runs, restored, request.allow_test_changes, self._room.beside)
        return verdict

    def _divide(self) -> tuple[list[FileChange], list[str]]:
        request = self._request
        workspace = self._room.new_workspace()
        try:
            self._files = frozenset(workspace.files())
        finally:
            workspace.close()
        if request.allow_test_changes:
            return list(request.changes), []
        return divide(request.changes, self._files, self._guards)

    async def _both_sides(self, check: str, kept: Sequence[FileChange]) -> CheckRuns:
        base = await self._base(check, 1)
        candidate = (await self._run(check, kept, "candidate", 1),)

        def compared() -> Comparison:
            return compare(
                check, settle(base), settle(candidate), lost_allowed=self._request.allow_test_changes
            )

        # Only runs that could change the verdict are repeated: a regression may be a flaky test …
        while self._may_rerun(candidate) and compared().verdict.regressed and not compared().problem:
            candidate += (await self._run(check, kept, "candidate", len(candidate) + 1),)
        # … and so may a test that failed on the base and passes now.
        while self._may_rerun(base) and compared().verdict.fixed and not compared().problem:
            base = await self._base(check, len(base) + 1)
        return CheckRuns(command=check, base=base, candidate=candidate)

    def _may_rerun(self, runs: Sequence[CheckRun]) -> bool:
        most = self._request.reruns if runs[0].seconds < LONG_SECONDS else min(self._request.reruns, 1)
        return len(runs) <= most

    async def _base(self, check: str, count: int) -> tuple[CheckRun, ...]:
        """Return at least `count` runs on the base, from those that are kept as far as they reach."""
        store = self._request.base_runs
        key = store.key(self._request.snapshot, check, self._room.limits)
        async with store.lock(key):
            runs = store.load(key)
            if len(runs) >= count:
                if count == 1:
                    self._completed(runs[0], "base", 1, cached=True)
                return runs
            while len(runs) < count:
                runs += (await self._run(check, (), "base", len(runs) + 1),)
            if all(did_run(run) for run in runs):
                # What could not run is tried anew: by then a person may have installed the program.
                store.save(key, runs)
        return runs

    async def _with_new_tests(self, runs: CheckRuns, tests: Sequence[FileChange]) -> CheckRuns:
        self._request.events.emit(
            Noted(text=f"running the added tests against the base: {named([test.path for test in tests])}")
        )
        extra = await self._run(runs.command, tests, "base", len(runs.base) + 1)
        return msgspec.structs.replace(runs, extra=extra)

    async def _run(
        self, check: str, changes: Sequence[FileChange], side: Literal["base", "candidate"], number: int
    ) -> CheckRun:
        self._request.events.emit(CheckStarted(command=check, side=side, run=number))
        run = await self._room.run(check, changes, self._guards)
        if self._request.redaction is not None:
            run = msgspec.structs.replace(run, output=self._request.redaction.clean(run.output))
        if run.limit is not None:
            self._request.events.emit(LimitHit(limit=run.limit, detail=f"{check} ({side})"))
        self._completed(run, side, number)
        return run

    def _completed(
        self, run: CheckRun, side: Literal["base", "candidate"], number: int, cached: bool = False
    ) -> None:
        statuses = list(run.tests.values())
        self._request.events.emit(
            CheckCompleted(
                command=run.command,
                side=side,
                run=number,
                passed=run.passed,
                exit_code=run.exit_code,
                seconds=run.seconds,
                tests_passed=statuses.count("passed"),
                tests_failed=sum(status in ("failed", "error", "missing") for status in statuses),
                cached=cached,
            )
        )
