"""Trying edits: one alone, two together, small systematic ones; what helps stands, the rest is taken back."""

import hashlib

import msgspec

from overnight.agents.interface import Assignment
from overnight.agents.record import StepRecorder
from overnight.agents.repair.answers import Edit
from overnight.agents.repair.asking import Ask
from overnight.agents.repair.bench import Bench
from overnight.agents.repair.checks import Effect
from overnight.agents.repair.failures import Failure, Report
from overnight.agents.repair.functions import Function
from overnight.agents.repair.locate import Target
from overnight.agents.repair.state import State
from overnight.agents.repair.variants import variants
from overnight.domain.events import ProposalChecked, ProposalMade

PAIRS = 10
"""Pairs of edits tried together after a round in which no single one helped."""
SYSTEMATIC_SECONDS = 0.2
"""Share of the attempt's time that systematic edits may take."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An edit that was checked and not kept, with what came of it."""

    ask: Ask
    edit: Edit
    answer: str
    effect: Effect
    failure: Failure | None = None
    """What still fails with it."""
    changed: bool = False
    """Whether the failure reads otherwise than without it: the edit matters to the test."""


class Tries:
    """Edits on trial. `moved` says that one stands and the next places are to be found anew."""

    def __init__(self, assignment: Assignment, bench: Bench, recorder: StepRecorder, state: State) -> None:
        self.aside: list[Candidate] = []
        self.tried = set(state.tried)
        self.vague = False
        self.moved = False
        self.solved = False
        self._assignment = assignment
        self._bench = bench
        self._recorder = recorder
        self._state = state
        self._pending: list[tuple[str, str, bool]] = []

    def first_time(self, function: Function, edit: Edit) -> bool:
        """Say whether an edit is new on the present ground, and remember it."""
        ground = " ".join(f"{k.path}::{k.target}" for k in self._state.kept)
        return self._new(f"{function.key} {edit.digest} {ground}")

    async def attempt(self, ask: Ask, edit: Edit, answer: str) -> bool:
        """Check one edit; keep it if it helps, else put it aside."""
        function = ask.target.function
        before = self._put(function, edit)
        if before is None:
            return False
        judged, report = await self._bench.check()
        keep = judged in ("solved", "better") or (self.vague and report.green)
        self._report(function, report, keep)
        if keep:
            self._keep(function, before, report, judged)
            return True
        self.give_back()
        failure = next(iter(report.failures), None)
        old = {f.test: f.message for f in self._bench.report.failures}
        changed = failure is not None and old.get(failure.test) != failure.message
        self.aside.append(
            Candidate(ask=ask, edit=edit, answer=answer, effect=judged, failure=failure, changed=changed)
        )
        return False

    def give_back(self) -> None:
        """Take out what is written and not kept, the last first."""
        while self._pending:
            self._bench.take_back(*self._pending.pop())

    async def pairs(self) -> bool:
        """Try two edits of different places together: some faults show no progress until both are mended."""
        hopeful = [c for c in self.aside if c.effect != "worse"]
        hopeful.sort(key=lambda c: not c.changed)
        pairs = [
            (a, b)
            for i, a in enumerate(hopeful[:10])
            for b in hopeful[i + 1 : 10]
            if a.ask.target.function.key != b.ask.target.function.key and (a.changed or b.changed)
        ]
        for a, b in pairs[:PAIRS]:
            if self._new(f"{a.edit.digest}+{b.edit.digest}") and await self._together(a, b):
                return True
        return False

    async def follow_farther(self) -> bool:
        """Go on from an edit with which tests only got farther; the next time round, give that up again."""
        state = self._state
        if state.kept and state.kept[-1].farther:
            await self._bench.undo(state.kept.pop())
            state.fallen_back = True
            return False
        if state.fallen_back:
            return False
        for candidate in (c for c in self.aside if c.effect == "farther"):
            function = candidate.ask.target.function
            before = self._put(function, candidate.edit)
            if before is not None:
                _, report = await self._bench.check()
                self._keep(function, before, report, "farther")
                return True
        return False

    async def systematic(self, targets: list[Target]) -> bool:
        """Try small systematic edits of the first places; keep the first one that helps."""
        clock = self._assignment.clock
        until = clock.monotonic() + SYSTEMATIC_SECONDS * self._assignment.limits.attempt_seconds
        for target in targets:
            function = target.function
            if function.kind != "function" or function.language != "python":
                continue
            for edit in variants(function):
                if clock.monotonic() > until:
                    return False
                before = self._put(function, edit) if self.first_time(function, edit) else None
                if before is None:
                    continue
                judged, report = await self._bench.check()
                if judged in ("solved", "better"):
                    self._assignment.events.emit(
                        ProposalMade(
                            step=self._recorder.step,
                            path=function.path,
                            target=function.qualified,
                            view="variant",
                            temperature=0.0,
                        )
                    )
                    self._report(function, report, True)
                    self._keep(function, before, report, judged)
                    return True
                self.give_back()
        return False

    async def _together(self, a: Candidate, b: Candidate) -> bool:
        first, second = a.ask.target.function, b.ask.target.function
        before = self._put(first, a.edit)
        between = self._put(second, b.edit) if before is not None else None
        if before is None or between is None:
            self.give_back()
            return False
        judged, report = await self._bench.check()
        keep = judged in ("solved", "better")
        self._report(second, report, keep)
        if keep:
            self._state.kept.append(self._bench.keep(first, before, report, farther=False))
            self._keep(second, between, report, judged)
            return True
        self.give_back()
        return False

    def _new(self, key: str) -> bool:
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        if digest in self.tried:
            return False
        self.tried.add(digest)
        return True

    def _put(self, function: Function, edit: Edit) -> str | None:
        existed = function.kind != "missing" or self._bench.codebase.has(function.path)
        before = self._bench.put(function, edit)
        if before is not None:
            self._pending.append((function.path, before, existed))
        return before

    def _keep(self, function: Function, before: str, report: Report, judged: Effect) -> None:
        self._state.kept.append(self._bench.keep(function, before, report, judged == "farther"))
        self._pending.clear()
        self.moved = True
        self.solved = report.green

    def _report(self, function: Function, report: Report, kept: bool) -> None:
        self._assignment.events.emit(
            ProposalChecked(
                step=self._recorder.step,
                path=function.path,
                target=function.qualified,
                passed=len(report.passed),
                failed=len(report.failed) or sum(1 for code in report.exit_codes if code != 0),
                kept=kept,
            )
        )
