"""What the `overnight task` commands do with which a person talks to attempts, lays them down, forks them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from overnight.cli.lines import at_step
from overnight.cli.report import task_object
from overnight.cli.submission import see_through
from overnight.cli.wire import Application, opened
from overnight.domain.commands import Command
from overnight.domain.errors import ExitCode, UsageError
from overnight.domain.ids import short
from overnight.domain.limits import Limits
from overnight.domain.network import Network, parse_network
from overnight.domain.states import TURN_ENDED
from overnight.domain.task import Attempt, Task
from overnight.events.folds import finished_history
from overnight.tasks import fork as forking
from overnight.tasks import pause as pausing
from overnight.tasks import resume as resuming
from overnight.tasks import words
from overnight.tasks.views import TaskView, find, view


class WantedFork(msgspec.Struct, frozen=True, kw_only=True):
    """What the person typed."""

    identifier: str
    at: str
    agent: str = ""
    model: str = ""
    message: str = ""
    limits: Mapping[str, float] = {}
    network: tuple[str, Sequence[str], Sequence[str]] = ("", (), ())
    """Preset or hosts, rules granted, rules refused."""
    replaces: bool = False


async def message(identifier: str, text: str, update_base: bool, detach: bool, json_output: bool) -> int:
    """Begin a new turn, and carry it out."""
    async with opened() as application:
        shown, attempt = await _attempt(application, identifier)
        await _refuse_secrets(application, shown, text)
        if attempt.state == "needs_input" and not update_base:
            await words.answer(application.database, attempt.id, text, application.clock.time())
        else:
            base = await _new_base(application, shown, attempt) if update_base else ""
            await words.follow_up(application.database, attempt.id, text, application.clock.time(), base)
        return await _go_on(application, shown.task, attempt, detach, json_output)


async def steer(identifier: str, text: str, json_output: bool) -> None:
    """Leave word for a running attempt."""
    async with opened() as application:
        shown, attempt = await _attempt(application, identifier)
        await _refuse_secrets(application, shown, text)
        command = await words.steer(application.database, attempt.id, text, application.clock.time())
        held = await application.work.holder(attempt.id)
    if json_output:
        typer.echo(json.dumps(_said(command)))
        return
    typer.echo(f"Pending: attempt {short(attempt.id)} reads it after its current action.", err=True)
    if held is None:
        typer.echo(f"Nobody works on it now: overnight task resume {short(attempt.id)}", err=True)


async def answer(identifier: str, text: str, detach: bool, json_output: bool) -> int:
    """Answer a question, and go on with the attempt."""
    async with opened() as application:
        shown, attempt = await find(application.database, identifier)
        asking = [one for one in shown.attempts if one.state == "needs_input"] or shown.attempts
        if attempt is None and len(asking) == 1:
            (attempt,) = asking
        if attempt is None:
            raise _which(asking, "could be meant")
        await _refuse_secrets(application, shown, text)
        await words.answer(application.database, attempt.id, text, application.clock.time())
        return await _go_on(application, shown.task, attempt, detach, json_output)


async def pause(identifier: str, json_output: bool) -> None:
    """Lay attempts down."""
    async with opened() as application:
        shown, attempt = await find(application.database, identifier)
        count = await pausing.pause(
            application.database,
            shown.task.id,
            attempt.id if attempt else None,
            application.clock.time(),
            application.is_alive,
        )
        left = await view(application.database, shown.task.id)
    if json_output:
        typer.echo(json.dumps(task_object(left)))
        return
    typer.echo(f"Pausing {count} attempt{'s' if count > 1 else ''}.", err=True)
    typer.echo(f"  go on:  overnight task resume {identifier}", err=True)


async def resume(identifier: str, more: Mapping[str, float], detach: bool, json_output: bool) -> int:
    """Go on with a task or an attempt in this process."""
    async with opened() as application:
        shown, attempt = await find(application.database, identifier)
        await application.sandboxes.open(shown.task.sandbox)
        await resuming.resume(
            application.database,
            shown.task.id,
            application.clock.time(),
            application.is_alive,
            attempt.id if attempt is not None else None,
            more,
        )
        return await _go_on(application, shown.task, attempt, detach, json_output)


async def fork(wanted: WantedFork, detach: bool, json_output: bool) -> int:
    """Make a fork, and carry it out."""
    async with opened() as application:
        shown, origin = await _attempt(application, wanted.identifier)
        await _refuse_secrets(application, shown, wanted.message)
        agent, model = wanted.agent or origin.agent, wanted.model or origin.model
        application.agents.pair((agent,), (model,), 1)
        network = _network(wanted)
        await application.sandboxes.open_for(shown.task.sandbox, network or shown.task.network)
        made = await forking.fork(
            application.database,
            application.log,
            forking.Fork(
                origin=origin.id,
                step=await _step(application, origin, wanted.at),
                agent=agent,
                model=model,
                message=wanted.message,
                limits=_limits(shown.task, origin, wanted.limits),
                network=network,
                replaces=wanted.replaces,
            ),
            application.clock.time(),
            application.is_alive,
        )
        where = at_step(made.fork_step)
        verb = "Rewound" if wanted.replaces else "Forked"
        typer.echo(f"{verb} {short(origin.id)} {where}: attempt {made.number} ({short(made.id)})", err=True)
        return await _go_on(application, shown.task, made, detach, json_output)


async def _attempt(application: Application, identifier: str) -> tuple[TaskView, Attempt]:
    """Return the attempt meant: the one named, else the task's picked or only one.

    Raises:
        UsageError: the task has several.
    """
    shown, attempt = await find(application.database, identifier)
    attempt = attempt or shown.chosen()
    if attempt is None:
        raise _which(shown.attempts, "are its attempts")
    return shown, attempt


def _which(attempts: Sequence[Attempt], what: str) -> UsageError:
    names = ", ".join(f"{short(one.id)} ({one.state})" for one in attempts)
    return UsageError("Say which attempt is meant", f"These {what}: {names}")


async def _go_on(
    application: Application, task: Task, attempt: Attempt | None, detach: bool, json_output: bool
) -> int:
    """Carry the task out here with one attempt shown, or all of them; or leave that to others."""
    console = Console(stderr=True, highlight=False)
    shown = await view(application.database, task.id)
    if detach:
        if json_output:
            typer.echo(json.dumps(task_object(shown)))
        else:
            typer.echo(f"Left for a worker: overnight task resume {short(task.id)}", err=True)
        return int(ExitCode.DONE)
    chosen = tuple(one for one in shown.attempts if attempt is None or one.id == attempt.id)
    going = [one for one in shown.attempts if one.state not in TURN_ENDED]
    await application.models.fetch([one.model for one in going], console)
    return await see_through(application, shown.task, chosen, console, json_output=json_output)


async def _refuse_secrets(application: Application, shown: TaskView, text: str) -> None:
    """Refuse words that give a secret away: they go to the model and into the log.

    Raises:
        UsageError: they hold a value.
    """
    redactor = (await application.vault.open(shown.repository.origin)).redactor()
    name = redactor.found_in(text.encode())
    if name is not None:
        raise UsageError(f"The text holds the value of the secret {name}", "Leave it out.")


async def _new_base(application: Application, shown: TaskView, attempt: Attempt) -> str:
    """Return the commit that the task's base names now; empty where that is the one that it has.

    Raises:
        UsageError: the setup of this repository has secrets, which a person lends to one commit only.
    """
    task = shown.task.seen_by(attempt)
    admission = await application.repositories.admit(shown.repository.origin, task.base_ref, Path.cwd())
    if admission.base_commit == task.base_commit:
        typer.echo(f"note: {task.base_ref} is where it was ({task.base_commit[:12]})", err=True)
        return ""
    if task.lend_setup_secrets:
        raise UsageError(
            f"The setup's secrets were lent to {task.base_commit[:12]}, not to {admission.base_commit[:12]}",
            "Start a new task there: overnight run --lend-setup-secrets",
        )
    return admission.base_commit


async def _step(application: Application, origin: Attempt, text: str) -> int:
    if text in ("start", "0"):
        return 0
    if text == "last":
        history = finished_history(await application.log.lineage(origin.id))
        return max((getattr(event, "step", 0) for event in history), default=0)
    if not text.isdecimal():
        raise UsageError(
            f"There is no step {text!r}", "Give its number in `overnight task logs`, last or start."
        )
    return int(text)


def _network(wanted: WantedFork) -> Network | None:
    preset, allow, deny = wanted.network
    return parse_network(preset or "none", allow, deny, "") if preset or allow or deny else None


def _limits(task: Task, origin: Attempt, changed: Mapping[str, float]) -> Limits | None:
    return msgspec.structs.replace(origin.limits or task.limits, **changed) if changed else None


def _said(command: Command) -> dict[str, object]:
    return msgspec.to_builtins(command)
