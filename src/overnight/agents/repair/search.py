"""The search of one attempt: what to ask next, what to make of an answer, and when to stop."""

import hashlib
import re

import msgspec

from overnight.agents.interface import Assignment, Outcome
from overnight.agents.record import StepRecorder, last_step
from overnight.agents.repair import views
from overnight.agents.repair.answers import Edit, Rejected, parse
from overnight.agents.repair.asking import Ask
from overnight.agents.repair.bench import Bench, Candidate
from overnight.agents.repair.checks import Effect
from overnight.agents.repair.failures import Report
from overnight.agents.repair.functions import Function
from overnight.agents.repair.locate import Target, locate
from overnight.agents.repair.schedule import ROUNDS, places, plan
from overnight.agents.repair.state import Kept, State, decode, encode
from overnight.agents.repair.suspicion import forbidden, special_cased
from overnight.domain.conversation import Completion, Message
from overnight.domain.events import MessageAdded, ProposalChecked, ProposalMade

VAGUE_ROUNDS = 2
"""Rounds to spend where no check fails, so that nothing can show progress."""
PAIRS = 10
"""Pairs of edits tried together after a round in which no single one helped."""
FOLLOWED_UP = 2
"""Failed tries per round that the model is asked to better."""


class Search:
    """Everything the loop of `Repair` needs, one call a stage."""

    def __init__(self, assignment: Assignment) -> None:
        before = last_step(assignment.history)
        self.recorder = StepRecorder(assignment)
        self.state: State = decode(before.state if before else "")
        self.solved = False
        self._assignment = assignment
        self._bench = Bench(assignment)
        self._vague = False
        self._moved = False
        self._tried = set(self.state.tried)
        self._asked: set[tuple[float, str]] = set()
        self._aside: list[Candidate] = []
        self._deferred: list[tuple[Ask, Edit, str]] = []
        self._pending: tuple[str, str, bool] | None = None

    async def prepare(self) -> None:
        """Run the checks on the code as it stands."""
        if self.state.done:
            return
        await self._bench.measure()
        report = self._bench.report
        if self.state.first_failed < 0:
            self.state.first_failed = 0 if report.green else max(1, len(report.failed))
        self._vague = report.green
        self.solved = report.green and self.state.first_failed > 0

    def over(self) -> bool:
        """Say whether there is nothing more to do."""
        rounds = VAGUE_ROUNDS if self._vague else ROUNDS
        return self.state.done or self.solved or self.state.round >= rounds

    def may_go_on(self) -> bool:
        """Say whether the limits allow another step; the limit that does not is recorded once."""
        return not self.recorder.stopped_by and self.recorder.may_go_on()

    def locate(self) -> list[Ask]:
        """Return the asks of the next round, for the places that are suspicious now."""
        bench, state = self._bench, self.state
        ranked = locate(bench.codebase, bench.report, bench.traced, self._assignment.prompt)
        asks = self._follow_ups() if state.round and not self._vague else []
        for sample in plan(self._assignment.number, places([t.score for t in ranked]), state.round):
            target = ranked[sample.rank]
            messages = self._prompt(target, sample.view)
            asks.append(
                Ask(
                    target=target,
                    view=sample.view,
                    temperature=sample.temperature,
                    seed=sample.seed,
                    messages=messages,
                )
            )
        fresh = [ask for ask in asks[state.position :] if self._first_time(ask)]
        if not fresh:
            state.round, state.position = state.round + 1, 0
        return fresh

    def begin(self, ask: Ask) -> int:
        """Start a step."""
        function = ask.target.function
        verb = "writing" if function.kind == "missing" else "repairing"
        step = self.recorder.begin(f"{verb} {function.qualified} in {function.path}")
        for message in ask.messages:
            self._assignment.events.emit(MessageAdded(step=step, message=message))
        return step

    async def examine(self, ask: Ask, completion: Completion) -> bool:
        """Read the answer and check it; return whether an edit was kept."""
        self.state.position += 1
        self.recorder.count(completion.usage)
        self._assignment.events.emit(
            MessageAdded(
                step=self.recorder.step,
                message=Message(role="assistant", text=completion.text),
                usage=completion.usage,
                temperature=ask.temperature,
            )
        )
        function = ask.target.function
        file = self._bench.codebase.shape(function.path)
        edit = parse(completion.text, function, file)
        if isinstance(edit, Rejected) and edit.undefined:
            ask, edit = self._elsewhere(ask, completion.text, edit)
            function = ask.target.function
        reason = edit.reason if isinstance(edit, Rejected) else self._objection(ask, edit)
        self._assignment.events.emit(
            ProposalMade(
                step=self.recorder.step,
                path=function.path,
                target=function.qualified,
                view=ask.view,
                temperature=ask.temperature,
                rejected=reason,
            )
        )
        if reason or isinstance(edit, Rejected):
            return False
        if self._special(ask, edit):
            self._deferred.append((ask, edit, completion.text))
            return False
        return await self._try(ask, edit, completion.text)

    async def end_round(self, progress: bool) -> None:
        """Close a round: after progress look anew, else try what may only help together."""
        state = self.state
        state.position = 0
        if progress or self._moved:
            await self._look_anew()
            return
        if not self._vague and (await self._pairs() or await self._follow_farther()):
            await self._look_anew()
            return
        state.round += 1
        while self._deferred and state.round > 1 and not self._moved:
            await self._try(*self._deferred.pop(0))
        if self._moved:
            await self._look_anew()

    async def finish(self) -> None:
        """All checks pass: drop kept edits that were not needed."""
        if len(self.state.kept) > 1 and not self._vague:
            self.state.kept = await self._bench.needless(self.state.kept)
        self.state.done = True

    async def end_step(self) -> None:
        """Write the step's end, with what is needed to go on from here."""
        self.state.tried = sorted(self._tried)
        await self.recorder.end(encode(self.state))

    def give_back(self) -> None:
        """Take out an edit whose check was cut short."""
        if self._pending is not None:
            self._bench.take_back(*self._pending)
            self._pending = None

    def outcome(self) -> Outcome:
        """Say what was reached, without claiming what nothing shows."""
        state, report = self.state, self._bench.report
        changed = ", ".join(dict.fromkeys(f"`{k.target}` in {k.path}" for k in state.kept))
        if state.first_failed == 0 and state.kept:
            text = (
                f"No check failed to begin with. Changed {changed}; "
                "the checks still pass, but none shows the task done."
            )
        elif state.first_failed == 0:
            text = "No check failed to begin with, and no change to show was found."
        elif self.solved or state.done:
            text = f"Changed {changed or 'nothing'}; all checks pass now."
        elif state.kept:
            text = (
                f"Changed {changed}; {len(report.failed)} of {state.first_failed} failing tests still fail."
            )
        else:
            text = f"No edit was found that helps ({self.recorder.step} tried)."
        if self.recorder.stopped_by:
            text = f"{text} {self.recorder.stopped_by}."
        return Outcome(
            summary=text, usage=self.recorder.usage, gave_up=not state.kept or not (self.solved or state.done)
        )

    def _prompt(self, target: Target, view: views.View) -> tuple[Message, ...]:
        bench = self._bench
        if self._vague:
            return views.wish(bench.codebase, target, self._assignment.prompt, view)
        return views.prompt(bench.codebase, target, view, self._assignment.prompt, bench.report, bench.traced)

    def _first_time(self, ask: Ask) -> bool:
        """Say whether a sample can bring anything new: at temperature 0 a prompt has one answer."""
        key = (ask.temperature, hashlib.sha256(repr(ask.messages).encode()).hexdigest())
        if ask.temperature < 0.05 and key in self._asked:
            return False
        self._asked.add(key)
        return True

    def _follow_ups(self) -> list[Ask]:
        """Return asks that go on from the best failed tries, those first that changed what the test says."""
        order = {"farther": 0, "same": 1, "worse": 2}
        promising = sorted(
            (c for c in self._aside if c.changed and c.ask.view != "again"),
            key=lambda c: order.get(c.effect, 3),
        )
        asks: list[Ask] = []
        for index, tried in enumerate(promising[:FOLLOWED_UP]):
            self._aside.remove(tried)
            name = tried.ask.target.function.name
            asks.append(
                Ask(
                    target=tried.ask.target,
                    view="again",
                    temperature=0.4,
                    seed=9000 + 100 * self.state.round + index,
                    messages=views.again(tried.ask.messages, tried.answer, tried.failure, name),
                )
            )
        return asks

    def _elsewhere(self, ask: Ask, text: str, rejected: Rejected) -> tuple[Ask, Edit | Rejected]:
        """Take an answer that mends another function of the file than the one it was asked for."""
        for other in self._bench.codebase.shape(ask.target.function.path).functions:
            if other.kind == "function" and re.search(rf"\b{re.escape(other.name)}\s*\(", text):
                edit = parse(text, other, self._bench.codebase.shape(other.path))
                if isinstance(edit, Edit):
                    target = Target(function=other, score=0.0, tests=ask.target.tests)
                    return msgspec.structs.replace(ask, target=target), edit
        return ask, rejected

    def _objection(self, ask: Ask, edit: Edit) -> str:
        function = ask.target.function
        if not self._bench.codebase.editable(function.path):
            return "the file is protected"
        digest = hashlib.sha256(f"{function.key} {edit.digest} {self._ground()}".encode()).hexdigest()[:16]
        if digest in self._tried:
            return "tried before"
        self._tried.add(digest)
        return forbidden(edit, function)

    def _ground(self) -> str:
        """What the code stands at: the same edit is worth another check on other ground."""
        return " ".join(f"{k.path}::{k.target}" for k in self.state.kept)

    def _special(self, ask: Ask, edit: Edit) -> bool:
        if self._vague:
            return False
        shown = [
            views.excerpt(self._bench.codebase, f)
            for f in views.relevant(self._bench.codebase, self._bench.report, ask.target)
        ]
        return any(special_cased(edit, ask.target.function, text) for text in shown)

    async def _try(self, ask: Ask, edit: Edit, answer: str) -> bool:
        function = ask.target.function
        before = self._put(function, edit)
        if before is None:
            return False
        judged, report = await self._bench.check()
        keep = judged in ("solved", "better") or (self._vague and report.green)
        self._report(function, report, keep)
        if keep:
            self._keep(function, before, report, judged)
            return True
        self.give_back()
        failure = next(iter(report.failures), None)
        old = {f.test: f.message for f in self._bench.report.failures}
        changed = failure is not None and old.get(failure.test) != failure.message
        self._aside.append(
            Candidate(ask=ask, edit=edit, answer=answer, effect=judged, failure=failure, changed=changed)
        )
        return False

    def _put(self, function: Function, edit: Edit) -> str | None:
        existed = function.kind != "missing" or self._bench.codebase.has(function.path)
        before = self._bench.put(function, edit)
        if before is not None:
            self._pending = (function.path, before, existed)
        return before

    def _keep(self, function: Function, before: str, report: Report, judged: Effect) -> Kept:
        kept = self._bench.keep(function, before, report, judged == "farther")
        self.state.kept.append(kept)
        self._pending = None
        self._moved = True
        self.solved = report.green
        return kept

    def _report(self, function: Function, report: Report, kept: bool) -> None:
        self._assignment.events.emit(
            ProposalChecked(
                step=self.recorder.step,
                path=function.path,
                target=function.qualified,
                passed=len(report.passed),
                failed=len(report.failed) or sum(1 for code in report.exit_codes if code != 0),
                kept=kept,
            )
        )

    async def _look_anew(self) -> None:
        self._moved = False
        self._aside.clear()
        self.state.round = self.state.position = 0
        if self.solved:
            await self.finish()
        else:
            await self._bench.trace()

    async def _pairs(self) -> bool:
        """Try two edits of different places together: some faults show no progress until both are mended."""
        hopeful = [c for c in self._aside if c.effect != "worse"]
        hopeful.sort(key=lambda c: not c.changed)
        pairs = [
            (a, b)
            for i, a in enumerate(hopeful[:10])
            for b in hopeful[i + 1 : 10]
            if a.ask.target.function.key != b.ask.target.function.key and (a.changed or b.changed)
        ]
        for a, b in pairs[:PAIRS]:
            key = hashlib.sha256(f"{a.edit.digest}+{b.edit.digest}".encode()).hexdigest()[:16]
            if key not in self._tried:
                self._tried.add(key)
                if await self._together(a, b):
                    return True
        return False

    async def _together(self, a: Candidate, b: Candidate) -> bool:
        first, second = a.ask.target.function, b.ask.target.function
        before = self._put(first, a.edit)
        if before is None:
            return False
        undo = self._pending
        between = self._put(second, b.edit)
        if between is None:
            self._pending = undo
            self.give_back()
            return False
        judged, report = await self._bench.check()
        keep = judged in ("solved", "better")
        self._report(second, report, keep)
        if keep:
            halfway = self._bench.keep(first, before, report, farther=False)
            self.state.kept.append(halfway)
            self._keep(second, between, report, judged)
            return True
        self.give_back()
        self._pending = undo
        self.give_back()
        return False

    async def _follow_farther(self) -> bool:
        """Go on from an edit with which tests only got farther; the next time round, give that up again."""
        state = self.state
        if state.kept and state.kept[-1].farther:
            given_up = state.kept.pop()
            await self._bench.undo(given_up)
            state.fallen_back = True
            return False
        if state.fallen_back:
            return False
        for candidate in (c for c in self._aside if c.effect == "farther"):
            function = candidate.ask.target.function
            before = self._put(function, candidate.edit)
            if before is not None:
                _, report = await self._bench.check()
                self._keep(function, before, report, "farther")
                return True
        return False
