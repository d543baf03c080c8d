"""The verdict table of the design, as a pure function over runs."""

from collections.abc import Sequence

import msgspec

from overnight.domain.verdict import CheckRun, CheckVerdict, Finding, Verdict
from overnight.verify.compare import Comparison, compare, named
from overnight.verify.settle import settle

NO_CHECKS = "No check ran: nothing was detected or given. Pass one by --check COMMAND."


class CheckRuns(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one check: the first of each side, then its re-runs."""

    command: str
    base: tuple[CheckRun, ...]
    candidate: tuple[CheckRun, ...]
    extra: CheckRun | None = None
    """The base with the patch's new test files only, where that was run."""


def judge(
    checks: Sequence[CheckRuns],
    protected_restored: Sequence[str] = (),
    allow_test_changes: bool = False,
    beside: Sequence[str] = (),
) -> Verdict:
    """Return the verdict over all checks; `beside` is what ran in the clean rooms beside them."""
    compared = [
        compare(
            runs.command,
            settle(runs.base),
            settle(runs.candidate),
            settle([runs.extra]) if runs.extra is not None else None,
            allow_test_changes,
        )
        for runs in checks
    ]
    finding, reason = _find(compared)
    limits = sorted({run.limit for runs in checks for run in runs.candidate if run.limit is not None})
    if limits and finding != "verified":
        reason += f" A run with the patch was ended by a limit: {', '.join(limits)}."
    weak = [one.verdict.command for one in compared if one.verdict.evidence == "exit_code"]
    if beside and weak and finding in ("verified", "improved", "checks_hold"):
        ran = named(list(beside))
        reason += f" Code of the repository ran beside `{weak[0]}` ({ran}) and could forge its exit code."
    if protected_restored:
        reason += f" Protected files were put back from the base: {named(list(protected_restored))}."
    return Verdict(
        finding=finding,
        reason=reason,
        checks=tuple(comparison.verdict for comparison in compared),
        protected_restored=tuple(protected_restored),
        beside=tuple(beside),
    )


def unverified() -> Verdict:
    """Return the verdict of `--no-verify`: nobody looked."""
    return Verdict(finding="unverified", reason="Verification was turned off by --no-verify.")


def not_verified(reason: str, protected_restored: Sequence[str] = ()) -> Verdict:
    """Return a verdict for a patch that was not run at all."""
    return Verdict(finding="not_verified", reason=reason, protected_restored=tuple(protected_restored))


def _find(compared: Sequence[Comparison]) -> tuple[Finding, str]:
    ran = [comparison for comparison in compared if comparison.verdict.after != "did not run"]
    for comparison in compared:
        if comparison.problem:
            return "not_verified", f"Not verified by `{comparison.verdict.command}`: {comparison.problem}."
    if not compared:
        return "not_verified", NO_CHECKS
    if not ran:
        return "not_verified", _idle(compared[0].verdict)
    finding, reason = _by_table(ran)
    idle = [comparison.verdict.command for comparison in compared if comparison not in ran]
    return finding, reason + (f" `{idle[0]}` did not run on either side." if idle else "")


def _idle(check: CheckVerdict) -> str:
    if check.evidence == "per_test":
        return f"No check ran: `{check.command}` found no tests. Pass another one by --check COMMAND."
    return (
        f"No check ran: `{check.command}`, or a program that it calls, was not found in the sandbox. "
        "Install it on this machine, or pass another check by --check COMMAND."
    )


def _by_table(ran: Sequence[Comparison]) -> tuple[Finding, str]:
    regressed = [name for comparison in ran for name in comparison.verdict.regressed]
    fixed = [name for comparison in ran for name in comparison.verdict.fixed]
    still = [name for comparison in ran for name in comparison.verdict.still_failing]
    failing = [name for comparison in ran for name in comparison.new_failing]
    red = [comparison for comparison in ran if comparison.verdict.after != "green"]
    if regressed:
        fails = "fails" if len(regressed) == 1 else "fail"
        return (
            "regressed",
            f"{_count(regressed)} passed on the base and {fails} with the patch: {named(regressed)}.",
        )
    if fixed and not still and not red:
        passes = "passes" if len(fixed) == 1 else "pass"
        return (
            "verified",
            f"{_count(fixed)} failed on the base and {passes} with the patch: {named(fixed)}."
            + (_caveat([comparison for comparison in ran if comparison.verdict.fixed])),
        )
    if fixed:
        left = still or failing or [comparison.verdict.command for comparison in red]
        return "improved", f"{_count(fixed)} fixed and nothing broken, but still failing: {named(left)}."
    if still:
        return "not_verified", f"Still failing with the patch: {named(still)}."
    if red:
        left = failing or [comparison.verdict.command for comparison in red]
        return "not_verified", f"Failing with the patch: {named(left)}."
    proving = [comparison for comparison in ran if comparison.proof]
    if proving:
        added = [name for comparison in proving for name in comparison.verdict.added]
        return "verified", f"The patch adds tests that fail without it and pass with it: {named(added)}." + (
            _caveat(proving)
        )
    return "checks_hold", (
        "Every check passes before and after; no test fails without the patch, so this is no proof."
    )


def _count(names: Sequence[str]) -> str:
    return "1 target" if len(names) == 1 else f"{len(names)} targets"


def _caveat(proving: Sequence[Comparison]) -> str:
    """Say so where the proof stands on exit codes, which the code under test could forge."""
    weak = [
        comparison.verdict.command for comparison in proving if comparison.verdict.evidence == "exit_code"
    ]
    return f" Exit code only for `{weak[0]}`: its runner gives no sealed results per test." if weak else ""
