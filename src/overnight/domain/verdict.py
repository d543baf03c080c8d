"""What verification found, with the evidence for it."""

from typing import Literal

import msgspec

TestStatus = Literal["passed", "failed", "error", "skipped", "flaky", "missing"]
Finding = Literal[
    "verified",
    "improved",
    "checks_hold",
    "regressed",
    "not_verified",
    "unverified",
]
"""The verdict table of the design. Only `verified` is proof; `unverified` means nobody looked."""

Evidence = Literal["per_test", "exit_code"]


class TestChange(msgspec.Struct, frozen=True, kw_only=True):
    """One test on the base and with the patch."""

    name: str
    before: TestStatus
    after: TestStatus


class CheckRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one check in a clean workspace. `output` is the end of what it printed."""

    command: str
    exit_code: int
    seconds: float
    evidence: Evidence
    tests: dict[str, TestStatus] = {}
    finished: bool = True
    """False when the runner's result file is missing its end: the run was cut short or forged."""
    output: str = ""
    limit: str | None = None
    """The limit that ended the run, if one did."""
    tampered: tuple[str, ...] = ()
    """Parts of the test runner or protected files that were replaced while checked code ran."""

    @property
    def passed(self) -> bool:
        """True if the run ended well by everything that is known of it."""
        if self.exit_code != 0 or not self.finished:
            return False
        return all(status in ("passed", "skipped", "flaky") for status in self.tests.values())


class CheckVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One check, before and after."""

    command: str
    before: Literal["green", "red", "did not run"]
    after: Literal["green", "red", "did not run"]
    seconds: float
    evidence: Evidence
    fixed: tuple[str, ...] = ()
    """Tests that failed on the base and pass with the patch, flaky ones excluded."""
    still_failing: tuple[str, ...] = ()
    regressed: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    """Tests that the patch adds and that pass."""
    flaky: tuple[str, ...] = ()
    output: str = ""
    """The end of the candidate's output."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement over all checks."""

    finding: Finding
    reason: str
    """One sentence a person can act on."""
    checks: tuple[CheckVerdict, ...] = ()
    protected_restored: tuple[str, ...] = ()
    """Protected files that the patch touched and that were put back from the base."""
    beside: tuple[str, ...] = ()
    """What ran in the clean rooms beside the checks: services and start commands of the base's recipe."""

    @property
    def verified(self) -> bool:
        """True only for `verified`."""
        return self.finding == "verified"
