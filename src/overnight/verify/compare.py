"""One check before and after: which tests were fixed, broken, lost or added. Pure."""

from typing import Literal

import msgspec

from overnight.domain.verdict import CheckVerdict
from overnight.verify.settle import COLLECTION, FAILING, SET_UP, Side, covers


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A check's part of the verdict, and what the table needs of it."""

    verdict: CheckVerdict
    problem: str = ""
    """Why this check proves nothing, as the end of a sentence; empty when it can."""
    proof: bool = False
    """The patch adds a test that fails on the base and passes here."""
    new_failing: tuple[str, ...] = ()
    """Tests that only exist with the patch and fail."""


def compare(
    command: str, base: Side, candidate: Side, extra: Side | None = None, lost_allowed: bool = False
) -> Comparison:
    """Compare the two sides of one check.

    Args:
        extra: the base with the patch's new test files only, where that was run.
        lost_allowed: a person allowed changes to tests, so that tests may go away.
    """
    regressed = _regressed(command, base, candidate)
    vanished = _vanished(base, candidate, regressed)
    fixed, still = _targets(command, base, candidate, vanished if lost_allowed else ())
    added = tuple(
        sorted(
            name for name, status in candidate.tests.items() if status == "passed" and name not in base.tests
        )
    )
    verdict = CheckVerdict(
        command=command,
        before=_colour(base),
        after=_colour(candidate),
        seconds=candidate.seconds,
        evidence="per_test" if base.evidence == candidate.evidence == "per_test" else "exit_code",
        fixed=fixed,
        still_failing=still,
        regressed=regressed,
        vanished=vanished,
        added=added,
        flaky=tuple(sorted({*base.flaky, *candidate.flaky})),
        output=candidate.output,
    )
    return Comparison(
        verdict=verdict,
        problem=_problem(base, candidate, () if lost_allowed else vanished),
        proof=extra is not None and _proves(added, candidate, extra),
        new_failing=tuple(
            name
            for name in candidate.failing
            if name not in base.tests and name not in regressed and not _is_holder(name)
        ),
    )


def _colour(side: Side) -> Literal["green", "red", "did not run"]:
    if not side.ran:
        return "did not run"
    return "green" if side.green else "red"


def _problem(base: Side, candidate: Side, vanished: tuple[str, ...]) -> str:
    """Say why the candidate's results cannot be believed or compared; empty if they can."""
    # A test that is new may well inherit its code from another file; one of the base did not.
    borrowed = {name for name in candidate.tampered if name.startswith("borrowed code of ")}
    new = {name for name in borrowed if name.removeprefix("borrowed code of ") not in base.tests}
    replaced = sorted(candidate.tampered - base.tampered - new)
    if replaced:
        return f"the test runner or a test was changed while it ran: {named(replaced)}"
    if not candidate.finished and candidate.limit is None:
        return "the run with the patch was cut short before its results were complete"
    if base.ran and not candidate.ran:
        return "it ran on the base and not with the patch"
    if vanished:
        return f"tests of the base did not report with the patch: {named(vanished)}"
    return ""


def _regressed(command: str, base: Side, candidate: Side) -> tuple[str, ...]:
    lost = {
        name
        for name, status in base.tests.items()
        if status == "passed" and candidate.tests.get(name) in ("failed", "error")
    }
    lost |= {name for name in _behind(base, candidate) if base.tests[name] == "passed"}
    if lost:
        return tuple(sorted(lost))
    whole = base.ran and base.green and base.steady and not candidate.green and candidate.ran
    # The command fails although no test does: a lint step, a threshold, or a limit.
    if whole and (candidate.limit is not None or (candidate.finished and not candidate.failing)):
        return (command,)
    return ()


def _behind(base: Side, candidate: Side) -> set[str]:
    """Return tests that did not report because their file or set-up fails, where it did not before."""
    holders = [name for name in candidate.failing if _is_holder(name) and name not in base.tests]
    return {
        name
        for name in base.tests
        if candidate.tests.get(name, "missing") == "missing"
        and any(covers(holder, name) or holder.endswith(SET_UP) for holder in holders)
    }


def _vanished(base: Side, candidate: Side, regressed: tuple[str, ...]) -> tuple[str, ...]:
    if candidate.limit is not None or not candidate.finished:
        return ()
    gone: list[str] = []
    behind = _behind(base, candidate)
    for name, before in base.tests.items():
        after = candidate.tests.get(name)
        if name in regressed or name in behind or _is_holder(name):
            continue
        if after is None or after == "missing" or (after == "skipped" and before != "skipped"):
            gone.append(name)
    return tuple(sorted(gone))


def _targets(
    command: str, base: Side, candidate: Side, ignored: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (fixed, still failing) among what failed on the base."""
    if not base.ran or base.green or not base.steady:
        return (), ()
    fixed: list[str] = []
    still: list[str] = []
    targets = [name for name in base.failing if name not in ignored]
    for name in targets:
        (fixed if _is_fixed(name, candidate) else still).append(name)
    if not targets and not ignored:
        # Nothing by name: the command failed, or its runner never came to its end.
        good = candidate.green and (candidate.evidence == "exit_code" or "passed" in candidate.tests.values())
        (fixed if good else still).append(command)
    return tuple(fixed), tuple(still)


def _is_fixed(name: str, candidate: Side) -> bool:
    after = candidate.tests.get(name)
    if name.endswith(COLLECTION):
        inside = [status for test, status in candidate.tests.items() if covers(name, test)]
        return after is None and "passed" in inside and not any(status in FAILING for status in inside)
    if name.endswith(SET_UP):
        return after is None
    return after == "passed"


def _proves(added: tuple[str, ...], candidate: Side, extra: Side) -> bool:
    """Say whether an added test fails without the patch and passes with it."""
    if not candidate.green or extra.green:
        return False
    if candidate.evidence == "exit_code":
        return extra.ran and extra.limit is None
    broken = [name for name in extra.failing if _is_holder(name)]
    return any(
        extra.tests.get(name) in FAILING
        or (name not in extra.tests and any(covers(holder, name) for holder in broken))
        for name in added
    )


def _is_holder(name: str) -> bool:
    return name.endswith((COLLECTION, SET_UP))


def named(names: tuple[str, ...] | list[str], most: int = 3) -> str:
    """Return the first `most` names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
