"""What the `overnight task` commands do."""

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from overnight.cli.lines import full, patch_line
from overnight.cli.report import Told, outcome, task_lines, task_object
from overnight.cli.submission import see_through
from overnight.cli.text import one_line, plain
from overnight.cli.wire import Application, opened
from overnight.domain.errors import ConflictError, NotFoundError, UsageError
from overnight.domain.events import PlanUpdated, SessionResumed
from overnight.domain.ids import short
from overnight.domain.network import parse_rule
from overnight.domain.task import Attempt
from overnight.tasks import cancel as cancelling
from overnight.tasks.retry import again
from overnight.tasks.submit import submit
from overnight.tasks.views import TaskView, find, listing, view

STATES = ("open", "done", "canceled")


async def list_tasks(state: str | None, limit: int, json_output: bool) -> None:
    """Print tasks, newest first."""
    if state is not None and state not in STATES:
        raise UsageError(f"There is no task state {state!r}", f"Use one of: {', '.join(STATES)}")
    async with opened() as application:
        shown = await listing(application.database, state=state, limit=limit)
        idle = await application.work.idle([attempt for item in shown for attempt in item.attempts])
    if json_output:
        typer.echo(json.dumps([task_object(item) for item in shown]))
        return
    if not shown:
        typer.echo('No tasks yet. Start one: overnight run "TASK" --repo PATH', err=True)
    for item in shown:
        typer.echo(_row(item, idle))


def _row(item: TaskView, idle: Collection[str]) -> str:
    findings = [outcome(attempt, idle) for attempt in item.attempts]
    repository = one_line(item.repository.origin.rstrip("/").rsplit("/", 1)[-1], 20)
    request = f" #{item.pull_request.number} {item.pull_request.state}" if item.pull_request else ""
    return (
        f"{short(item.task.id)}  {item.task.state:8}  {', '.join(findings)[:24]:24}"
        f"  {repository:20}  {one_line(item.task.title, 60)}{request}"
    )


async def view_task(identifier: str, json_output: bool) -> None:
    """Print one task."""
    async with opened() as application:
        shown = await _view(application, identifier)
        idle = await application.work.idle(shown.attempts)
        told = {attempt.id: await _told(application, attempt) for attempt in shown.attempts}
    if json_output:
        found = task_object(shown)
        for one in found["attempts"]:
            said = told[one["id"]]
            one["plan"] = [msgspec.to_builtins(step) for step in said.plan]
            if said.resumed:
                one["resumed"] = said.resumed
        typer.echo(json.dumps(found))
        return
    for line in task_lines(shown, idle, told):
        typer.echo(line)


async def _told(application: Application, attempt: Attempt) -> Told:
    """Return what the log alone says of an attempt."""
    told = Told()
    async for item in application.log.read(attempt.id):
        if isinstance(item.event, PlanUpdated):
            told = msgspec.structs.replace(told, plan=item.event.steps)
        elif isinstance(item.event, SessionResumed):
            told = msgspec.structs.replace(told, resumed=item.event.how)
    return told


async def logs(identifier: str, follow: bool, json_output: bool, after: int) -> None:
    """Print the events of an attempt, or of all attempts of a task one after the other."""
    async with opened() as application:
        shown, attempt = await find(application.database, identifier)
        chosen = (attempt,) if attempt is not None else shown.attempts
        for one in chosen:
            if len(chosen) > 1 and not json_output:
                typer.echo(f"── attempt {one.number} ({short(one.id)})")
            await _print_log(application, one, follow, json_output, after)


async def _print_log(
    application: Application, attempt: Attempt, follow: bool, json_output: bool, after: int
) -> None:
    log = application.log

    async def stop() -> bool:
        """Say whether nobody is left who could go on: the worker was killed, or the attempt has ended."""
        return await application.work.holder(attempt.id) is None

    followed = log.follow(attempt.id, after=after, stop=stop)
    async for item in followed if follow else log.read(attempt.id, after=after):
        if json_output:
            line = msgspec.to_builtins(item)
            typer.echo(json.dumps({"attempt": attempt.id, **line}))
            continue
        text = full(item.event)
        if text:
            typer.echo(f"{item.seq:>5}  {text}")


async def diff(identifier: str) -> None:
    """Print the patch as text."""
    async with opened() as application:
        _, attempt = await _patched(application, identifier)
        assert attempt.patch is not None
        content = application.blobs.get(attempt.patch.digest)
    if sys.stdout.isatty():
        # A patch is somebody else's text: on a terminal its escape sequences must not act.
        typer.echo(plain(content.decode("utf-8", "replace")))
    else:
        typer.get_binary_stream("stdout").write(content)


async def apply(identifier: str, repo: Path | None) -> None:
    """Apply the patch to the user's checkout."""
    async with opened() as application:
        shown, attempt = await _patched(application, identifier)
        assert attempt.patch is not None
        where = await application.results.apply(shown.task, attempt, repo)
    typer.echo(f"Applied to {where}, uncommitted: {patch_line(attempt.patch)}", err=True)


async def checkout(identifier: str, repo: Path | None) -> None:
    """Switch the user's checkout to the patch's branch."""
    async with opened() as application:
        shown, attempt = await _patched(application, identifier)
        assert attempt.patch is not None
        where = await application.results.checkout(shown.task, attempt, repo)
    typer.echo(f"{where} is now on branch {attempt.patch.branch}", err=True)


async def cancel(identifier: str, json_output: bool) -> None:
    """Ask whoever works on it to stop."""
    async with opened() as application:
        shown, attempt = await find(application.database, identifier)
        count = await cancelling.cancel(
            application.database,
            shown.task.id,
            attempt.id if attempt else None,
            application.clock.time(),
            application.is_alive,
        )
        if count == 0:
            raise ConflictError(
                "Nothing to cancel: it has ended already.", f"See: overnight task view {identifier}"
            )
        left = await view(application.database, shown.task.id)
    if json_output:
        typer.echo(json.dumps(task_object(left)))
        return
    typer.echo(f"Canceled {count} attempt{'s' if count > 1 else ''}.", err=True)


async def retry(identifier: str, allow: Sequence[str], json_output: bool) -> int:
    """Submit a task again with more of the network, and carry it out in this process."""
    rules = [parse_rule(text) for text in allow]
    console = Console(stderr=True, highlight=False)
    async with opened() as application:
        shown, _ = await find(application.database, identifier)
        submission = again(shown.task, shown.attempts, rules)
        await application.sandboxes.open_for(shown.task.sandbox, submission.network)
        task, attempts = await submit(application.database, submission, application.clock)
        await application.models.fetch([attempt.model for attempt in attempts], console)
        console.print(f"Task {short(task.id)}: {one_line(task.title)}", markup=False, soft_wrap=True)
        console.print(f"network: {one_line(str(task.network), 200)}", markup=False, soft_wrap=True)
        return await see_through(application, task, attempts, console, json_output=json_output)


async def _view(application: Application, identifier: str) -> TaskView:
    shown, _ = await find(application.database, identifier)
    return await view(application.database, shown.task.id)


async def _patched(application: Application, identifier: str) -> tuple[TaskView, Attempt]:
    """Return the attempt meant: the one named, else the picked one, else the first that has a patch."""
    shown, attempt = await find(application.database, identifier)
    if attempt is None:
        with_patch = [one for one in application.results.ranked(shown.attempts) if one.patch is not None]
        picked = [one for one in with_patch if one.id == shown.task.picked]
        attempt = next(iter(picked or with_patch), None)
    if attempt is None or attempt.patch is None:
        raise NotFoundError("There is no patch", f"See what happened: overnight task logs {identifier}")
    return shown, attempt
