"""The text of a pull request: what was asked, what changed, and the evidence, in Markdown.

The task, the agent and the repository's tests all supply text here, and any of them may be hostile: text
that pings people, closes issues, hides in HTML comments or breaks out of a fence. So every foreign word
stands in a code span or a fence that is longer than any run of backticks in it; there no forge obeys it.
"""

import re
import shlex
import unicodedata
from collections.abc import Sequence

from overnight.domain.ids import short
from overnight.domain.task import Attempt, Task
from overnight.domain.verdict import CheckVerdict, Verdict
from overnight.git.objects import LineCount

BODY_CHARACTERS = 60_000
"""GitHub takes 65,536."""
TITLE_CHARACTERS = 72
_LISTED = 100
_RETRY_RULES = 6
_SKIP = re.compile(r"\[\s*(?:skip[ -]\w+|\w+[ -]skip|no[ -]ci)\s*\]|\bskip-checks\s*:\s*true", re.IGNORECASE)
_HEADLINES = {
    "verified": "Verified",
    "improved": "Improved, not verified",
    "checks_hold": "The checks hold; that is no proof",
    "regressed": "Regressed",
    "not_verified": "Not verified",
    "unverified": "Unverified: nobody looked",
}


def visible(text: str) -> str:
    """Return `text` without characters that do not show: control, direction, zero width, tags."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))


def span(text: str, limit: int = 300) -> str:
    """Return `text` as a one-line code span."""
    line = " ".join(visible(text).split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    if not line:
        return "–"
    mark = "`" * (_longest_run(line) + 1)
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{mark}{pad}{line}{pad}{mark}"


def cell(text: str, limit: int = 300) -> str:
    """Return `text` as a code span that holds inside a table, where a bar would end it."""
    return span(text, limit).replace("|", "\\|")


def fence(text: str, limit: int = 6_000) -> str:
    """Return `text` as a fenced block; a long one keeps its beginning and its end."""
    shown = visible(text).strip("\n")
    if len(shown) > limit:
        shown = f"{shown[: limit // 2]}\n…\n{shown[-limit // 2 :]}"
    mark = "`" * max(3, _longest_run(shown) + 1)
    return f"{mark}text\n{shown}\n{mark}"


def pull_request_title(task: Task) -> str:
    """Return the task's first line, safe as a title and in a commit message.

    A title cannot hold code, so what forges act on is taken apart: mentions, issue numbers, `[skip ci]`.
    """
    line = _SKIP.sub("", " ".join(visible(task.title).split()))
    line = re.sub(r"@(?=\w)", "", line)
    line = re.sub(r"#(?=\d)", "", line)
    line = re.sub(r"\b(GH)-(?=\d)", r"\1 ", line, flags=re.IGNORECASE)
    line = re.sub(r"https?://\S+", "link", line)
    line = " ".join(re.sub(r"[<>`]", "", line).split())
    return line[:TITLE_CHARACTERS].rstrip() or f"Task {short(task.id)}"


def pull_request_body(
    task: Task,
    attempt: Attempt,
    files: Sequence[LineCount] = (),
    commands: Sequence[str] = (),
    follow_ups: Sequence[str] = (),
) -> str:
    """Return the description. `files` are the patch's line counts, `commands` what the agent ran.

    `follow_ups` is what later turns were asked, oldest first.
    """
    parts = [
        "## Task\n" + fence(task.prompt, 4_000) + _follow_ups(follow_ups),
        _summary(attempt),
        _verdict(attempt.verdict),
        _files(attempt, files),
        _commands(commands),
        _network(task, attempt),
        _usage(task, attempt),
        _how_to_apply(attempt),
    ]
    body = "\n\n".join(part for part in parts if part) + "\n"
    if len(body) <= BODY_CHARACTERS:
        return body
    # A cut inside a fence would set free what stands in it, so whole sections go.
    for chosen in ((0, 2, 5, 6, 7), (0, 6, 7)):
        body = "\n\n".join(parts[i] for i in chosen) + "\n"
        if len(body) <= BODY_CHARACTERS:
            break
    return body


def _follow_ups(asked: Sequence[str]) -> str:
    """Return the last few follow-ups, numbered by their turns."""
    numbered = list(enumerate(asked, 2))[-5:]
    return "".join(f"\n\nTurn {turn}:\n{fence(text, 1_000)}" for turn, text in numbered)


def _summary(attempt: Attempt) -> str:
    return "## Summary\n" + fence(attempt.message, 4_000) if attempt.message.strip() else ""


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "## Verdict\n**Unverified: nobody looked**"
    lines = [f"## Verdict\n**{_HEADLINES[verdict.finding]}** — {span(verdict.reason, 600)}"]
    if verdict.checks:
        rows = ["| check | before | after | seconds | evidence |", "|---|---|---|---:|---|"]
        rows += [
            f"| {cell(c.command, 120)} | {c.before} | {c.after} | {c.seconds:.1f} | {_evidence(c)} |"
            for c in verdict.checks[:_LISTED]
        ]
        lines.append("\n".join(rows))
    for title, field in (
        ("Tests fixed", "fixed"),
        ("Tests added", "added"),
        ("Still failing", "still_failing"),
        ("Regressed", "regressed"),
        ("Vanished", "vanished"),
        ("Flaky", "flaky"),
    ):
        names = [name for check in verdict.checks for name in getattr(check, field)]
        if names:
            lines.append(f"{title}:\n" + _list(names))
    if verdict.beside:
        lines.append("Ran beside the checks, as the base commit says:\n" + _list(verdict.beside))
    if verdict.protected_restored:
        lines.append(
            "Protected files that the patch touched; put back from the base before the checks ran:\n"
            + _list(verdict.protected_restored)
        )
    return "\n\n".join(lines)


def _evidence(check: CheckVerdict) -> str:
    return "per test" if check.evidence == "per_test" else "exit code only"


def _files(attempt: Attempt, files: Sequence[LineCount]) -> str:
    if files:
        rows = ["| file | added | removed |", "|---|---:|---:|"]
        for f in files[:_LISTED]:
            counts = "binary | " if f.added is None else f"{f.added} | {f.removed}"
            rows.append(f"| {cell(f.path)} | {counts} |")
        more = f"\n\n… and {len(files) - _LISTED} more files" if len(files) > _LISTED else ""
        return "## Files\n" + "\n".join(rows) + more
    return "## Files\n" + _list(attempt.patch.files) if attempt.patch and attempt.patch.files else ""


def _commands(commands: Sequence[str]) -> str:
    return "## Commands the agent ran\n" + _list(commands) if commands else ""


def _network(task: Task, attempt: Attempt) -> str:
    """Say what the agent could reach, and list what it asked for in vain."""
    if task.network.closed and not attempt.blocked:
        return ""
    lines = [f"## Network\nGranted: {span(str(task.network))}"]
    if attempt.blocked:
        rows = ["| blocked | port | why | times |", "|---|---:|---|---:|"]
        rows += [
            f"| {cell(one.host, 120)} | {one.port or '–'} | {cell(one.reason, 120)} | {one.flows} |"
            for one in attempt.blocked[:_LISTED]
        ]
        more = len(attempt.blocked) - _LISTED
        lines.append("\n".join(rows) + (f"\n\n… and {more} more" if more > 0 else ""))
        rules = dict.fromkeys(one.rule for one in attempt.blocked if one.rule)
        if rules:
            words = " ".join(f"--allow {shlex.quote(rule)}" for rule in list(rules)[:_RETRY_RULES])
            command = f"overnight task retry {short(task.id)} {words}"
            lines.append(f"To try again with these granted, if you trust them: {span(command, 600)}")
    return "\n\n".join(lines)


def _usage(task: Task, attempt: Attempt) -> str:
    used, took = attempt.usage, attempt.seconds
    cost = f", {used.cost}" if used.cost else ""
    return (
        "## Usage\n"
        f"- agent {span(attempt.agent, 60)}, model {span(attempt.model, 120)}\n"
        f"- {used.model_calls} model calls, {used.input_tokens} input tokens ({used.cached_tokens} cached), "
        f"{used.output_tokens} output tokens{cost}\n"
        f"- seconds: {took.prepare:.1f} prepare, {took.work:.1f} work, {took.verify:.1f} verify\n"
        f"- base {span(task.base_ref, 120)} at {span(task.base_commit, 64)}"
    )


def _how_to_apply(attempt: Attempt) -> str:
    name = short(attempt.id)
    return (
        "## How to take it\n"
        f"- into your working tree, uncommitted: `overnight task apply {name}`\n"
        f"- as a branch: `overnight task checkout {name}`\n"
        "- merged: `overnight pr merge` with this pull request's number"
    )


def _list(names: Sequence[str]) -> str:
    lines = [f"- {span(name)}" for name in names[:_LISTED]]
    if len(names) > _LISTED:
        lines.append(f"- … and {len(names) - _LISTED} more")
    return "\n".join(lines)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
