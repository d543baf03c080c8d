"""The search of one attempt: what to ask next, what to make of an answer, and when to stop."""

import hashlib
import re

import msgspec

from overnight.agents.interface import Assignment, Outcome
from overnight.agents.record import StepRecorder, last_step
from overnight.agents.repair import views
from overnight.agents.repair.answers import NO_CODE, Edit, Rejected, parse
from overnight.agents.repair.asking import Ask
from overnight.agents.repair.bench import Bench
from overnight.agents.repair.locate import Target, locate
from overnight.agents.repair.schedule import ROUNDS, places, plan
from overnight.agents.repair.state import State, decode, encode
from overnight.agents.repair.suspicion import forbidden, special_cased
from overnight.agents.repair.tries import Tries
from overnight.domain.conversation import Completion, Message
from overnight.domain.events import MessageAdded, ProposalMade

VAGUE_ROUNDS = 2
"""Rounds to spend where no check fails, so that nothing can show progress."""
SYSTEMATIC = 3
"""Places whose systematic variants are tried after a first round without progress."""
ECHOES = 2
"""So many times a place's code may come back unchanged before it is asked about in another way."""
FOLLOWED_UP = 2
"""Failed tries per round that the model is asked to better."""


class Search:
    """Everything the loop of `Repair` needs, one call a stage."""

    def __init__(self, assignment: Assignment, systematic: bool = True) -> None:
        before = last_step(assignment.history)
        self.recorder = StepRecorder(assignment)
        self.state: State = decode(before.state if before else "")
        self._systematic = systematic
        self._assignment = assignment
        self._bench = Bench(assignment)
        self._tries = Tries(assignment, self._bench, self.recorder, self.state)
        self._asked: set[tuple[float, str]] = set()
        self._deferred: list[tuple[Ask, Edit, str]] = []
        self._ranked: list[Target] = []
        self._echoes: dict[str, int] = {}
        self._next: list[Ask] = []

    async def prepare(self) -> None:
        """Run the checks on the code as it stands."""
        if self.state.done:
            return
        await self._bench.measure()
        report = self._bench.report
        if self.state.first_failed < 0:
            self.state.first_failed = 0 if report.green else max(1, len(report.failed))
        self._tries.vague = report.green and self.state.first_failed == 0
        self._tries.solved = report.green and self.state.first_failed > 0

    @property
    def solved(self) -> bool:
        """Whether all checks pass now, and did not before."""
        return self._tries.solved

    def over(self) -> bool:
        """Say whether there is nothing more to do."""
        rounds = VAGUE_ROUNDS if self._tries.vague else ROUNDS
        return self.state.done or self.solved or self.state.round >= rounds

    def may_go_on(self) -> bool:
        """Say whether the limits allow another step; the limit that does not is recorded once."""
        return not self.recorder.stopped_by and self.recorder.may_go_on()

    def locate(self) -> list[Ask]:
        """Return the asks of the next round, for the places that are suspicious now."""
        bench, state = self._bench, self.state
        ranked = locate(bench.codebase, bench.report, bench.traced, self._assignment.prompt)
        self._ranked = ranked
        asks = self._follow_ups() if state.round and not self._tries.vague else []
        for sample in plan(self._assignment.number, places([t.score for t in ranked]), state.round):
            target = ranked[sample.rank]
            view = sample.view
            if self._echoes.get(target.function.key, 0) >= ECHOES and view not in ("fresh", "reason"):
                view = "reason" if sample.seed % 2 else "fresh"
            messages = self._prompt(target, view)
            asks.append(
                Ask(
                    target=target,
                    view=view,
                    temperature=sample.temperature,
                    seed=self._assignment.seed + sample.seed,
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
        if ask.view not in ("again", "echo"):
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
            self._follow_up(ask, completion.text, reason)
            return False
        if self._special(ask, edit):
            self._deferred.append((ask, edit, completion.text))
            return False
        return await self._tries.attempt(ask, edit, completion.text)

    async def end_round(self, progress: bool) -> None:
        """Close a round: after progress look anew, else try what may only help together."""
        state = self.state
        state.position = 0
        tries = self._tries
        if progress or tries.moved:
            await self._look_anew()
            return
        if not tries.vague:
            moved = await tries.pairs() or await tries.follow_farther()
            if not moved and state.round == 0 and self._systematic:
                moved = await tries.systematic(self._ranked[:SYSTEMATIC])
            if moved:
                await self._look_anew()
                return
        state.round += 1
        while self._deferred and state.round > 1 and not tries.moved:
            await tries.attempt(*self._deferred.pop(0))
        if tries.moved:
            await self._look_anew()

    async def _look_anew(self) -> None:
        self._tries.moved = False
        self._tries.aside.clear()
        self.state.round = self.state.position = 0
        if self.solved:
            await self.finish()
        else:
            await self._bench.trace()

    async def finish(self) -> None:
        """All checks pass: drop kept edits that were not needed."""
        if len(self.state.kept) > 1 and not self._tries.vague:
            self.state.kept = await self._bench.needless(self.state.kept)
        self.state.done = True

    async def end_step(self) -> None:
        """Write the step's end, with what is needed to go on from here."""
        self.state.tried = sorted(self._tries.tried)
        await self.recorder.end(encode(self.state))

    def give_back(self) -> None:
        """Take out an edit whose check was cut short."""
        self._tries.give_back()

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
        if self._tries.vague:
            return views.wish(bench.codebase, target, self._assignment.prompt, view)
        return views.prompt(bench.codebase, target, view, self._assignment.prompt, bench.report, bench.traced)

    def _first_time(self, ask: Ask) -> bool:
        """Say whether a sample can bring anything new: at temperature 0 a prompt has one answer."""
        key = (ask.temperature, hashlib.sha256(repr(ask.messages).encode()).hexdigest())
        if ask.temperature < 0.05 and key in self._asked:
            return False
        self._asked.add(key)
        return True

    def take_follow_ups(self) -> list[Ask]:
        """Return the asks that the last answer gave rise to."""
        taken, self._next = self._next, []
        return taken

    def _follow_up(self, ask: Ask, answer: str, reason: str) -> None:
        """Answer back where that is likely to help: to an echo of the code, and to words without code."""
        function = ask.target.function
        if self._tries.vague or ask.view in ("again", "echo"):
            return
        if reason == "unchanged":
            self._echoes[function.key] = self._echoes.get(function.key, 0) + 1
            if self._echoes[function.key] % ECHOES == 0:
                messages = views.echo(ask.messages, answer, function.name)
                self._next.append(
                    msgspec.structs.replace(ask, view="echo", temperature=0.5, messages=messages)
                )
        elif ask.view == "reason" and reason == NO_CODE and answer.strip():
            messages = views.spelled_out(ask.messages, answer, function.name)
            self._next.append(msgspec.structs.replace(ask, view="again", temperature=0.3, messages=messages))

    def _follow_ups(self) -> list[Ask]:
        """Return asks that go on from the best failed tries, those first that changed what the test says."""
        order = {"farther": 0, "same": 1, "worse": 2}
        promising = sorted(
            (c for c in self._tries.aside if c.changed and c.ask.view != "again"),
            key=lambda c: order.get(c.effect, 3),
        )
        asks: list[Ask] = []
        for index, tried in enumerate(promising[:FOLLOWED_UP]):
            self._tries.aside.remove(tried)
            name = tried.ask.target.function.name
            asks.append(
                Ask(
                    target=tried.ask.target,
                    view="again",
                    temperature=0.4,
                    seed=self._assignment.seed + 9000 + 100 * self.state.round + index,
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
        if not self._tries.first_time(function, edit):
            return "tried before"
        return forbidden(edit, function)

    def _special(self, ask: Ask, edit: Edit) -> bool:
        if self._tries.vague:
            return False
        shown = [
            views.excerpt(self._bench.codebase, f)
            for f in views.relevant(self._bench.codebase, self._bench.report, ask.target)
        ]
        return any(special_cased(edit, ask.target.function, text) for text in shown)
