"""The workbench: puts edits into the workspace, checks them, and takes them back where they do not help."""

import difflib

from overnight.agents.interface import Assignment
from overnight.agents.repair.answers import Edit
from overnight.agents.repair.checks import Checks, Effect, badness, effect, progress
from overnight.agents.repair.codebase import Codebase
from overnight.agents.repair.failures import Report
from overnight.agents.repair.functions import Function
from overnight.agents.repair.missing import at_end, in_class
from overnight.agents.repair.splice import splice
from overnight.agents.repair.state import Kept
from overnight.domain.events import FileChanged


class Bench:
    """The workspace with the checks around it, and the run that stands for its present content."""

    def __init__(self, assignment: Assignment) -> None:
        self.codebase = Codebase(assignment.workspace, assignment.protected)
        self.checks = Checks(assignment)
        self.report = Report(exit_codes=())
        self.traced: Report | None = None
        self._assignment = assignment

    async def measure(self) -> None:
        """Run the checks on the code as it stands, and trace the failing tests."""
        self.report = await self.checks.baseline()
        await self.trace()

    async def trace(self) -> None:
        """Trace the tests that fail now."""
        self.traced = await self.checks.trace(self.report)

    def current(self, function: Function) -> Function | None:
        """Return the function where it is now; None when it is gone or reads otherwise by now."""
        file = self.codebase.shape(function.path)
        text = self.codebase.text(function.path)
        if function.kind == "missing":
            if not text:
                return function if not self.codebase.has(function.path) else None
            if function.owner:
                return in_class(file, text, function.owner.split(".")[-1], function.name)
            return at_end(file, text, function.name) if function.name not in file.names else None
        found = file.find(function.qualified)
        return found if found is not None and found.text == function.text else None

    def put(self, function: Function, edit: Edit) -> str | None:
        """Write the edit; return the file's text before it, or None where it does not fit."""
        place = self.current(function)
        if place is None:
            return None
        before = self._read(function.path)
        after = splice(before, place, edit)
        if after is None or after == before:
            return None
        self._write(function.path, after)
        return before

    def take_back(self, path: str, before: str, existed: bool = True) -> None:
        """Put a file back to what it was."""
        if existed:
            self._write(path, before)
        else:
            self._assignment.workspace.delete(path)
            self.codebase.changed(path)

    async def check(self) -> tuple[Effect, Report]:
        """Run the checks on what is written now: first what failed, the rest only where that helps."""
        chosen = await self.checks.failing(self.report)
        if chosen is not None:
            fixed = self.report.failed - chosen.failed
            moved = progress(self.report.failures, chosen.failures)
            if chosen.limit is not None or (not fixed and moved != "farther"):
                return ("worse" if chosen.limit or moved == "worse" else "same"), chosen
        after = await self.checks.everything()
        judged = effect(self.report, after)
        if judged == "worse" and badness(after) < badness(self.report) and after.limit is None:
            # Something was fixed and something broke: once more, in case the latter was chance.
            after = await self.checks.everything()
            judged = effect(self.report, after)
        return judged, after

    def keep(self, function: Function, before: str, report: Report, farther: bool) -> Kept:
        """Let what is written stand, as the new ground for all that follows."""
        self.report = report
        existed = before != "" or function.kind != "missing"
        after = self._read(function.path)
        self._announce(function.path, before, after, existed)
        return Kept(
            path=function.path,
            target=function.qualified,
            before=before if existed else None,
            after=after,
            farther=farther,
        )

    async def undo(self, kept: Kept) -> None:
        """Take a kept edit back, and measure anew."""
        self.take_back(kept.path, kept.before or "", kept.before is not None)
        self._announce(kept.path, kept.after, kept.before or "", True)
        self.report = await self.checks.everything()

    async def needless(self, kept: list[Kept]) -> list[Kept]:
        """Drop edits without which all checks pass as well; return those that stay."""
        staying = list(kept)
        for item in kept[:-1]:
            later = staying[staying.index(item) + 1 :]
            if any(other.path == item.path for other in later):
                continue
            self.take_back(item.path, item.before or "", item.before is not None)
            report = await self.checks.everything()
            if report.green and not self.report.passed - report.passed:
                staying.remove(item)
                self.report = report
                self._announce(item.path, item.after, item.before or "", True)
            else:
                self._write(item.path, item.after)
        return staying

    def _read(self, path: str) -> str:
        raw = self._assignment.workspace.read(path)
        return raw.decode("utf-8") if raw is not None else ""

    def _write(self, path: str, text: str) -> None:
        self._assignment.workspace.write(path, text.encode("utf-8"))
        self.codebase.changed(path)

    def _announce(self, path: str, before: str, after: str, existed: bool) -> None:
        changes = list(difflib.ndiff(before.splitlines(), after.splitlines())) if len(before) < 60_000 else []
        self._assignment.events.emit(
            FileChanged(
                path=path,
                change="modified" if existed else "added",
                added=sum(1 for line in changes if line.startswith("+ ")),
                removed=sum(1 for line in changes if line.startswith("- ")),
            )
        )
