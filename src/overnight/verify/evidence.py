"""Writes a verdict down for people: Markdown that also reads well as plain text."""

import re

from overnight.domain.verdict import CheckVerdict, Verdict

_TITLES = {
    "verified": "Verified",
    "improved": "Improved, not verified",
    "checks_hold": "Checks hold, no proof",
    "regressed": "Regressed",
    "not_verified": "Not verified",
    "unverified": "Unverified",
}
_UNSAFE = re.compile(
    r"[^\t\n\x20-\x7e\u00a0-\u2027\u2030-\u2065\u2070-\ud7ff\uf900-\ufdff\ufe10-\ufffd\U00010000-\U0001fbff]"
)
"""Control characters, direction marks and the like: output comes from code that nobody trusts."""
MAX_NAMES = 20
OUTPUT_LINES = 30


def evidence(verdict: Verdict, output: bool = True) -> str:
    """Return the summary for a pull request or a terminal; `output` adds the end of failing checks."""
    lines = [f"**{_TITLES[verdict.finding]}.** {_clean(verdict.reason)}", ""]
    if verdict.checks:
        lines += ["| check | before | after | evidence | seconds |", "|---|---|---|---|---|"]
        lines += [_row(check) for check in verdict.checks]
        lines.append("")
    for check in verdict.checks:
        lines += _lists(check)
    if verdict.protected_restored:
        lines += _list("Protected files put back from the base", verdict.protected_restored)
    if output:
        for check in verdict.checks:
            if check.after == "red" and check.output.strip():
                lines += _tail(check)
    return "\n".join(lines).rstrip() + "\n"


def _row(check: CheckVerdict) -> str:
    proof = "per test" if check.evidence == "per_test" else "exit code only"
    return f"| {_code(check.command)} | {check.before} | {check.after} | {proof} | {check.seconds:.1f} |"


def _lists(check: CheckVerdict) -> list[str]:
    lines: list[str] = []
    for title, names in (
        ("Fixed", check.fixed),
        ("Still failing", check.still_failing),
        ("Regressed", check.regressed),
        ("Did not report with the patch", check.vanished),
        ("Added and passing", check.added),
        ("Flaky, not counted", check.flaky),
    ):
        if names:
            lines += _list(f"{title} ({len(names)})", names)
    return lines


def _list(title: str, names: tuple[str, ...]) -> list[str]:
    lines = [f"{title}:", *(f"- {_code(name)}" for name in names[:MAX_NAMES])]
    if len(names) > MAX_NAMES:
        lines.append(f"- and {len(names) - MAX_NAMES} more")
    return [*lines, ""]


def _tail(check: CheckVerdict) -> list[str]:
    text = _clean(check.output).rstrip().splitlines()[-OUTPUT_LINES:]
    # A fence longer than any run of backticks inside, so that output cannot leave it.
    longest = max((len(run) for run in re.findall(r"`+", "\n".join(text))), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"End of the output of {_code(check.command)}:", "", fence, *text, fence, ""]


def _code(text: str) -> str:
    flat = " ".join(_clean(text).split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {flat} {fence}" if longest else f"`{flat}`"


def _clean(text: str) -> str:
    return _UNSAFE.sub("\ufffd", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
