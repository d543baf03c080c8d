"""What came of a task, for people and as the JSON object that scripts rely on."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from overnight.cli.course import course_lines, course_object, tree
from overnight.cli.lines import cached_words, patch_line, plan_lines
from overnight.cli.text import one_line, plain
from overnight.cli.units import show_seconds
from overnight.domain.errors import ExitCode
from overnight.domain.events import PlanStep
from overnight.domain.ids import short
from overnight.domain.network import Blocked
from overnight.domain.states import TURN_ENDED, TURN_WAITING
from overnight.domain.task import Attempt, PullRequest, Task, Usage
from overnight.domain.verdict import CheckVerdict, Verdict
from overnight.events.usage import total
from overnight.tasks.views import TaskView

BLOCKED_LINES = 12
RETRY_RULES = 6
OUTPUT_LINES = 6
"""How much of the end of a failing check's output is shown."""


def verdict_object(verdict: Verdict | None) -> dict[str, Any] | None:
    """Return a verdict as JSON shows it."""
    if verdict is None:
        return None
    return {
        "verified": verdict.verified,
        "finding": verdict.finding,
        "reason": verdict.reason,
        "checks": [
            {
                "command": check.command,
                "before": check.before,
                "after": check.after,
                "seconds": round(check.seconds, 3),
                "evidence": check.evidence,
                "fixed": list(check.fixed),
                "still_failing": list(check.still_failing),
                "regressed": list(check.regressed),
                "vanished": list(check.vanished),
                "added": list(check.added),
                "flaky": list(check.flaky),
            }
            for check in verdict.checks
        ],
        "protected_restored": list(verdict.protected_restored),
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return usage as JSON shows it; `cost_usd` is null where a price is not known."""
    return {
        "model_calls": usage.model_calls,
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        # Without every price the sum is not what it cost.
        "cost_usd": None if usage.unpriced_calls else usage.cost_usd,
    }


def attempt_object(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as JSON shows it."""
    patch = attempt.patch
    return {
        "id": attempt.id,
        "number": attempt.number,
        "agent": attempt.agent,
        "model": attempt.model,
        "state": attempt.state,
        "message": attempt.message,
        "verdict": verdict_object(attempt.verdict),
        "usage": usage_object(attempt.usage),
        "seconds": {
            "queued": attempt.seconds.queued,
            "prepare": attempt.seconds.prepare,
            "work": attempt.seconds.work,
            "verify": attempt.seconds.verify,
        },
        "blocked": [msgspec.to_builtins(one) for one in attempt.blocked],
        "patch": patch
        and {
            "files": list(patch.files),
            "added": patch.added,
            "removed": patch.removed,
            "branch": patch.branch,
            "commit": patch.commit,
        },
    }


def pull_request_object(request: PullRequest | None) -> dict[str, Any] | None:
    """Return a pull request as JSON shows it."""
    if request is None:
        return None
    return {
        "number": request.number,
        "forge": request.forge,
        "state": request.state,
        "title": request.title,
        "branch": request.branch,
        "base": request.base_ref,
        "base_commit": request.base_commit,
        "commit": request.head_commit,
        "merged_commit": request.merged_commit,
        "task": request.task_id,
        "attempt": request.attempt_id,
    }


def task_object(shown: TaskView) -> dict[str, Any]:
    """Return the object that `run --json` and `task view --json` print."""
    task = shown.task
    return {
        "task": task.id,
        "prompt": task.prompt,
        "state": task.state,
        "repository": shown.repository.origin,
        "network": str(task.network),
        "base": {"ref": task.base_ref, "commit": task.base_commit},
        "attempts": [
            {**attempt_object(attempt), **course_object(shown, attempt)} for attempt in shown.attempts
        ],
        "usage": usage_object(total(attempt.usage for attempt in shown.attempts)),
        "picked": task.picked,
        "pull_request": pull_request_object(shown.pull_request),
    }


def exit_code(task: Task, attempts: tuple[Attempt, ...]) -> ExitCode:
    """Return what the task's end means for a script; attempts whose place was taken do not count."""
    attempts = tuple(one for one in attempts if one.superseded_by is None)
    if any(attempt.state in TURN_WAITING for attempt in attempts):
        return ExitCode.NEEDS_INPUT
    if any(attempt.verdict is not None and attempt.verdict.verified for attempt in attempts):
        return ExitCode.DONE
    if task.state == "canceled" or (attempts and all(attempt.state == "canceled" for attempt in attempts)):
        return ExitCode.CANCELED
    return ExitCode.NOT_VERIFIED


def check_lines(check: CheckVerdict) -> list[str]:
    """Return a check's evidence, a few lines."""
    lines = [f"  {one_line(check.command)}: {check.before} → {check.after}"]
    if check.evidence == "exit_code":
        lines[0] += " (exit code only)"
    for label, names in (
        ("fixed", check.fixed),
        ("added", check.added),
        ("still failing", check.still_failing),
        ("regressed", check.regressed),
        ("vanished", check.vanished),
        ("flaky", check.flaky),
    ):
        lines.extend(f"    {label}: {one_line(name, 120)}" for name in names[:5])
        if len(names) > 5:
            lines.append(f"    {label}: {len(names) - 5} more")
    if check.after != "green":
        printed = [line for line in plain(check.output).splitlines() if line.strip()]
        lines.extend(f"    │ {one_line(line, 160)}" for line in printed[-OUTPUT_LINES:])
    return lines


def outcome(attempt: Attempt, idle: Collection[str] = ()) -> str:
    """Return what became of an attempt, in a word or two; `idle` are those that nobody works on."""
    if attempt.state in TURN_WAITING:
        return attempt.state.replace("_", " ")
    if attempt.state not in TURN_ENDED:
        return f"{attempt.state}, stopped" if attempt.id in idle else attempt.state
    return attempt.verdict.finding.replace("_", " ") if attempt.verdict else attempt.state


def attempt_lines(attempt: Attempt, idle: Collection[str] = ()) -> list[str]:
    """Return an attempt's end, a few lines."""
    usage, seconds = attempt.usage, attempt.seconds
    finding = outcome(attempt, idle)
    lines = [
        f"Attempt {attempt.number} ({short(attempt.id)}, {attempt.agent} with {attempt.model}): {finding}"
    ]
    if attempt.patch:
        lines.append(f"  patch: {patch_line(attempt.patch)}")
    if attempt.verdict:
        lines.append(f"  {one_line(attempt.verdict.reason, 300)}")
        for check in attempt.verdict.checks:
            lines.extend(check_lines(check))
        restored = attempt.verdict.protected_restored
        if restored:
            lines.append(f"  put back from the base: {', '.join(one_line(path, 60) for path in restored)}")
    elif attempt.message:
        first, *more = [line for line in plain(attempt.message).splitlines() if line.strip()] or [""]
        lines.append(f"  {one_line(first, 300)}")
        lines.extend(f"    │ {one_line(line, 200)}" for line in more[-OUTPUT_LINES:])
    lines.extend(f"  {line}" for line in blocked_lines(attempt.blocked))
    if attempt.state not in TURN_ENDED:
        return lines  # Time and usage are recorded at the end of a phase.
    lines.append(
        f"  {show_seconds(seconds.prepare)} preparing, {show_seconds(seconds.work)} working, "
        f"{show_seconds(seconds.verify)} verifying; {usage.model_calls} model calls, "
        f"{usage.input_tokens} tokens in ({cached_words(usage)}), {usage.output_tokens} out"
        + (f", {usage.cost}" if usage.cost else "")
    )
    return lines


def blocked_lines(blocked: Sequence[Blocked]) -> list[str]:
    """Return what the network refused, one line for each of the first ones."""
    lines: list[str] = []
    for one in blocked[:BLOCKED_LINES]:
        port = f":{one.port}" if one.port else ""
        times = f", {one.flows} times" if one.flows > 1 else ""
        lines.append(f"blocked: {one_line(one.host, 80)}{port} ({one_line(one.reason, 80)}{times})")
    if len(blocked) > BLOCKED_LINES:
        lines.append(f"blocked: {len(blocked) - BLOCKED_LINES} more")
    return lines


def waiting_line(attempt: Attempt) -> str:
    """Return the command with which a person lets a waiting attempt go on."""
    if attempt.state == "needs_input":
        return f'  answer it:  overnight task answer {short(attempt.id)} "…"'
    return f"  go on:  overnight task resume {short(attempt.id)}"


def retry_command(identifier: str, attempts: Sequence[Attempt]) -> str:
    """Return the command that grants what was refused and could be granted; empty where nothing could."""
    rules = dict.fromkeys(one.rule for attempt in attempts for one in attempt.blocked if one.rule)
    if not rules:
        return ""
    words = [shlex.quote(one_line(rule, 260)) for rule in list(rules)[:RETRY_RULES]]
    return f"overnight task retry {identifier} " + " ".join(f"--allow {word}" for word in words)


class Told(msgspec.Struct, frozen=True):
    """What an attempt's log alone says: the agent's plan, and how a program went on last."""

    plan: tuple[PlanStep, ...] = ()
    resumed: str = ""
    """`native`, `replayed` or empty."""


def task_lines(shown: TaskView, idle: Collection[str] = (), told: Mapping[str, Told] = {}) -> list[str]:
    """Return a task's end for people, with what they can do next.

    `idle` as for `outcome`; `told` is by attempt.
    """
    task, attempts, request = shown.task, shown.attempts, shown.pull_request
    lines = [f"Task {short(task.id)}: {one_line(task.title)} ({task.state})"]
    lines.append(f"On {one_line(shown.repository.origin, 200)} at {task.base_commit[:12]}")
    for attempt, depth in tree(attempts):
        about = attempt_lines(attempt, idle)
        said = told.get(attempt.id, Told())
        about[1:1] = [f"  {line}" for line in course_lines(shown, attempt, said.resumed)]
        about += (f"  {line}" for line in plan_lines(said.plan))
        lines.extend("  " * depth + line for line in about)
    spent = total(attempt.usage for attempt in attempts)
    if len(attempts) > 1 and spent.model_calls:
        cost = f", {spent.cost}" if spent.cost else ""
        lines.append(
            f"In all: {spent.model_calls} model calls, {spent.input_tokens} tokens in, "
            f"{spent.output_tokens} out{cost}"
        )
    identifier = short(task.id)
    if request is not None:
        lines.append(f"Pull request #{request.number} ({request.state}): branch {request.branch}")
        if request.state == "open":
            lines.append(f"  see it:    overnight pr view {request.number}")
            lines.append(f"  merge it:  overnight pr merge {request.number}")
            lines.append(f"  try it:    overnight task apply {identifier}")
    elif waiting := [one for one in attempts if one.state in TURN_WAITING]:
        lines += [waiting_line(one) for one in waiting]
    elif task.state == "open" and not idle:
        lines.append(f"  watch it:  overnight task logs {identifier} --follow")
    elif task.state == "open":
        lines.append(f"  go on:  overnight task resume {identifier}")
    else:
        lines.append("No attempt was verified, so there is no pull request.")
        lines.append(f"  what happened:  overnight task logs {identifier}")
        if any(attempt.patch for attempt in attempts):
            lines.append(f"  see the patch:  overnight task diff {identifier}")
            lines.append(f"  publish it nevertheless:  overnight pr create {identifier}")
    retry = retry_command(identifier, attempts)
    if retry and task.state != "open":
        lines.append(f"  with the network it asked for:  {retry}")
    return lines
