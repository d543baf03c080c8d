"""Orders the attempts of a task by evidence, and says why."""

from collections.abc import Sequence

import msgspec

from overnight.domain.task import Attempt
from overnight.domain.verdict import Finding

ORDER: tuple[Finding, ...] = (
    "verified",
    "improved",
    "checks_hold",
    "unverified",
    "not_verified",
    "regressed",
)
"""Best first."""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt's place, from 1, and the sentence that explains it."""

    attempt: Attempt
    place: int
    reason: str


def rank(attempts: Sequence[Attempt]) -> list[Ranked]:
    """Return the attempts, best first: finding, targets fixed, regressions, size of the change, number.

    Attempts without a patch come last.
    """
    ordered = sorted(attempts, key=_key)
    return [
        Ranked(attempt=attempt, place=place, reason=_reason(attempt))
        for place, attempt in enumerate(ordered, 1)
    ]


def _key(attempt: Attempt) -> tuple[int, int, int, int, int, int]:
    verdict, patch = attempt.verdict, attempt.patch
    if verdict is None or patch is None:
        return (1, len(ORDER), 0, 0, 0, attempt.number)
    fixed = sum(len(check.fixed) for check in verdict.checks)
    regressed = sum(len(check.regressed) for check in verdict.checks)
    return (0, ORDER.index(verdict.finding), -fixed, regressed, patch.added + patch.removed, attempt.number)


def _reason(attempt: Attempt) -> str:
    verdict, patch = attempt.verdict, attempt.patch
    if patch is None:
        return "no patch"
    if verdict is None:
        return "no verdict"
    fixed = sum(len(check.fixed) for check in verdict.checks)
    regressed = sum(len(check.regressed) for check in verdict.checks)
    parts = [verdict.finding.replace("_", " ")]
    if fixed:
        parts.append(f"{fixed} fixed")
    if regressed:
        parts.append(f"{regressed} regressed")
    files = "1 file" if len(patch.files) == 1 else f"{len(patch.files)} files"
    parts.append(f"+{patch.added} -{patch.removed} in {files}")
    return ", ".join(parts)
