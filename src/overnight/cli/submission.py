"""From the words of `overnight run` to a task that is carried out, followed and reported."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from overnight.cli.announce import announce, notify_variables
from overnight.cli.live import LiveDisplay
from overnight.cli.questions import answer_questions
from overnight.cli.report import exit_code, task_lines, task_object
from overnight.cli.text import one_line
from overnight.cli.wire import Application, opened
from overnight.domain.environment import Recipe
from overnight.domain.errors import ExitCode, UsageError
from overnight.domain.ids import short
from overnight.domain.network import Network
from overnight.domain.task import Attempt, Task
from overnight.tasks.admission import Admission
from overnight.tasks.submit import Submission, submit
from overnight.tasks.views import TaskView, view

NO_CHECKS = "no checks were found, so nothing can be verified: give --check, or write .overnight.toml"
OUTCOMES = {ExitCode.DONE: "verified", ExitCode.NEEDS_INPUT: "waits for you"}
FOLLOWER_SECONDS = 10.0
"""How long the display may take to show the last events."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the person typed."""

    prompt: str
    repo: str
    base: str | None
    attempts: int
    agents: tuple[str, ...]
    models: tuple[str, ...]
    checks: tuple[str, ...]
    limits: Mapping[str, float]
    """Those that the person set; the others are the settings'."""
    wait_seconds: float | None
    verify: bool
    allow_test_changes: bool
    lend_setup_secrets: bool
    sandbox: str
    network: Network
    notify_command: str | None
    json_output: bool
    directory: Path


async def carry_out(wanted: Wanted) -> int:
    """Submit, work, follow, report; returns the exit code."""
    if not wanted.prompt.strip():
        raise UsageError("The task is empty", 'Say what is to be done: overnight run "Fix the …"')
    console = Console(stderr=True, highlight=False)
    async with opened() as application:
        task, attempts = await _submit(application, wanted, console)
        console.print(f"Task {short(task.id)}: {one_line(task.title)}", markup=False, soft_wrap=True)
        return await see_through(
            application,
            task,
            attempts,
            console,
            json_output=wanted.json_output,
            notify_command=wanted.notify_command,
            wait_seconds=wanted.wait_seconds,
        )


async def _submit(
    application: Application, wanted: Wanted, console: Console
) -> tuple[Task, tuple[Attempt, ...]]:
    limits = application.limits(wanted.limits)
    backend = await application.sandboxes.open_for(wanted.sandbox, wanted.network)
    if backend.name == "none":
        console.print("note: --sandbox none: commands run without isolation, as you, with your network")
    models, reason = application.models.choose(wanted.models)
    if reason:
        console.print(reason, markup=False, soft_wrap=True)
    models = await application.models.name(models)
    pairs = application.agents.pair(wanted.agents, models, wanted.attempts)
    await application.make_room(lambda line: console.print(line, markup=False))
    admission = await application.repositories.admit(wanted.repo, wanted.base, wanted.directory)
    for note in admission.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    # Read here too, so that a mistake in `.overnight.toml` is told before anything starts.
    recipe = await application.repositories.recipe(admission, wanted.checks)
    await _check_secrets(application, wanted, admission, recipe)
    for note in _notes(wanted, recipe, backend.name):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    # A gigabyte is fetched only for a task that has nothing else in its way.
    await application.models.fetch(models, console)
    return await submit(
        application.database,
        Submission(
            repository_id=admission.repository.id,
            prompt=wanted.prompt,
            base_ref=admission.base_ref,
            base_commit=admission.base_commit,
            checks=wanted.checks,
            attempts=pairs,
            verify=wanted.verify,
            allow_test_changes=wanted.allow_test_changes,
            lend_setup_secrets=wanted.lend_setup_secrets,
            sandbox=wanted.sandbox,
            limits=limits,
            network=wanted.network,
        ),
        application.clock,
    )


def _notes(wanted: Wanted, recipe: Recipe, sandbox: str) -> Iterator[str]:
    """Yield what of the recipe is not as its author may expect."""
    if wanted.verify and not recipe.checks:
        yield NO_CHECKS
    if recipe.base and sandbox != "container":
        image = one_line(recipe.base, 100)
        yield f"the image {image} is not used: programs are this machine's (--sandbox container takes it)"
    lacking = wanted.network.lacks(recipe.network_asked)
    if lacking:
        asked = ", ".join(one_line(wish, 100) for wish in lacking)
        yield f".overnight.toml asks for network that is not granted: {asked} (see --network, --allow)"


async def _check_secrets(
    application: Application, wanted: Wanted, admission: Admission, recipe: Recipe
) -> None:
    """Ask for the person's word where setup, which is the commit's own code, would get secrets.

    Raises:
        UsageError: it was not given, or the task's own text gives a value away.
        SecretError: the secrets do not open.
    """
    origin = admission.repository.origin
    opened = await application.vault.open(origin, lent=wanted.lend_setup_secrets)
    given_away = opened.redactor().found_in(wanted.prompt.encode())
    if given_away is not None:
        raise UsageError(
            f"The task's text holds the value of the secret {given_away}",
            "Leave it out: the text goes to the model and into the pull request",
        )
    if recipe.setup:
        await application.vault.check_word(origin, admission.base_commit, lent=wanted.lend_setup_secrets)


async def see_through(
    application: Application,
    task: Task,
    attempts: tuple[Attempt, ...],
    console: Console,
    *,
    json_output: bool,
    notify_command: str | None = None,
    wait_seconds: float | None = None,
) -> int:
    """Work on a task in this process, show it live, report its end; returns the exit code.

    `attempts` are those that are shown, and that decide the exit code. What they ask is asked on the
    terminal, if there is one.
    """
    outcome: ExitCode | None = None
    try:
        async with asyncio.timeout(wait_seconds):
            await _work(application, task, attempts, console)
            while not json_output and await answer_questions(application, task, console):
                await _work(application, task, attempts, console)
    except TimeoutError:
        outcome = ExitCode.TIME_LIMIT
    except asyncio.CancelledError:
        # Ctrl-C: `asyncio.run` cancels the main task once; what was done stays and can go on.
        outcome = ExitCode.INTERRUPTED
        if (current := asyncio.current_task()) is not None:
            current.uncancel()
    shown = await view(application.database, task.id)
    chosen = {attempt.id for attempt in attempts}
    of_these = tuple(attempt for attempt in shown.attempts if attempt.id in chosen)
    outcome = outcome if outcome is not None else exit_code(shown.task, of_these)
    _print(shown, await application.work.idle(shown.attempts), json_output)
    if outcome in (ExitCode.INTERRUPTED, ExitCode.TIME_LIMIT):
        console.print(f"Stopped. Go on with: overnight task resume {short(task.id)}", markup=False)
    complaint = await announce(
        "Overnight",
        f"{one_line(task.title, 60)}: {OUTCOMES.get(outcome, 'not verified')}",
        notify_command or application.settings.notify_command,
        notify_variables(application.settings.environment, shown.task, shown.pull_request, int(outcome)),
    )
    if complaint:
        console.print(complaint, markup=False)
    return int(outcome)


async def _work(
    application: Application, task: Task, attempts: tuple[Attempt, ...], console: Console
) -> None:
    """Carry the task out as far as it goes, with its attempts shown."""
    after = {attempt.id: await _last_seq(application, attempt) for attempt in attempts}
    awake = await application.work.claimable(attempts)
    display = LiveDisplay(console, application.log, attempts)
    async with _shown(display, after, awake):
        await application.work.worker().run_task(task.id)


@contextlib.asynccontextmanager
async def _shown(display: LiveDisplay, after: dict[str, int], awake: Collection[str]) -> AsyncGenerator[None]:
    """Follow the attempts while the body runs; the display ends with the last event of the body."""
    follower = asyncio.create_task(display.follow(after, awake))
    try:
        yield
        # Every attempt has ended or waits by now, so that the followers come to their end by themselves.
        await asyncio.wait([follower], timeout=FOLLOWER_SECONDS)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def _last_seq(application: Application, attempt: Attempt) -> int:
    last = await application.log.last(attempt.id)
    return last.seq if last is not None else 0


def _print(shown: TaskView, idle: Collection[str], json_output: bool) -> None:
    if json_output:
        typer.echo(json.dumps(task_object(shown)))
        return
    for line in task_lines(shown, idle):
        typer.echo(line)
