"""What `overnight task usage` does: model calls, tokens and cost by step, attempt and task."""

import json

import msgspec
import typer

from overnight.cli.report import usage_object
from overnight.cli.text import one_line
from overnight.cli.wire import opened
from overnight.domain.ids import short
from overnight.domain.task import Usage
from overnight.events.usage import total, usage_by_step
from overnight.tasks.views import find


async def usage(identifier: str, json_output: bool) -> None:
    """Print what a task's attempts, or one attempt, have cost so far."""
    async with opened() as application:
        shown, one = await find(application.database, identifier)
        chosen = (one,) if one is not None else shown.attempts
        steps = {
            attempt.id: usage_by_step([item.event async for item in application.log.read(attempt.id)])
            for attempt in chosen
        }
    sums = {identity: total(step.usage for step in found) for identity, found in steps.items()}
    if json_output:
        attempts = [
            {
                "attempt": attempt.id,
                "usage": usage_object(sums[attempt.id]),
                "steps": [
                    msgspec.to_builtins(step) | {"usage": usage_object(step.usage)}
                    for step in steps[attempt.id]
                ],
            }
            for attempt in chosen
        ]
        everything = {
            "task": shown.task.id,
            "usage": usage_object(total(sums.values())),
            "attempts": attempts,
        }
        typer.echo(json.dumps(everything))
        return
    for attempt in chosen:
        typer.echo(f"Attempt {attempt.number} ({short(attempt.id)}): {words(sums[attempt.id])}")
        for step in steps[attempt.id]:
            failed = f", {step.failed} failed" if step.failed else ""
            title = one_line(f"step {step.step} {step.title}" if step.step else "before step 1", 60)
            typer.echo(f"  {title}: {words(step.usage)}{failed}, {step.seconds:.1f} s")
    if len(chosen) > 1:
        typer.echo(f"Task {short(shown.task.id)}: {words(total(sums.values()))}")


def words(usage: Usage) -> str:
    """Return usage in one line, with the share of the input that the provider's cache held."""
    share = f" ({100 * usage.cached_tokens // usage.input_tokens} % cached)" if usage.cached_tokens else ""
    return (
        f"{usage.model_calls} model calls, {usage.input_tokens} tokens in{share}, {usage.output_tokens} out"
        + (f", {usage.cost}" if usage.cost else "")
    )
