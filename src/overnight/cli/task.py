"""`overnight task`: look at tasks, talk to them, fork them, take their patches."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.network_options import Allow, Deny

app = typer.Typer(help="Look at tasks, talk to them, fork them, take their patches.")

Identifier = Annotated[str, typer.Argument(metavar="ID", help="Task or attempt: its id or the start of it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Only leave word: some other `overnight` process carries it out.")
]
Step = Annotated[
    str,
    typer.Option("--at", metavar="STEP", help="A step of `task logs`, `last`, or `start` (the same as 0)."),
]
MaybeText = Annotated[str, typer.Option("--message", metavar="TEXT", help="What to say to the new attempt.")]


@app.command("list")
def list_tasks(
    state: Annotated[str | None, typer.Option(help="Only `open`, `done` or `canceled` ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    json_output: Json = False,
) -> None:
    """List tasks, newest first."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.list_tasks(state, limit, json_output))


@app.command()
def view(identifier: Identifier, json_output: Json = False) -> None:
    """Show a task, its attempts and what was found."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.view_task(identifier, json_output))


@app.command()
def logs(
    identifier: Identifier,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens next.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Only events behind this number.")] = 0,
) -> None:
    """Print everything that happened, event by event."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.logs(identifier, follow, json_output, after))


@app.command()
def diff(identifier: Identifier) -> None:
    """Print the patch of a task's picked (or best, or only) attempt."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.diff(identifier))


@app.command()
def apply(
    identifier: Identifier,
    repo: Annotated[
        Path | None, typer.Option(help="Your checkout. Default: where the task came from.")
    ] = None,
) -> None:
    """Put the patch into your checkout, uncommitted; refused where it would overwrite your work."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.apply(identifier, repo))


@app.command()
def checkout(
    identifier: Identifier,
    repo: Annotated[
        Path | None, typer.Option(help="Your checkout. Default: where the task came from.")
    ] = None,
) -> None:
    """Fetch the patch's branch into your checkout and switch to it."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.checkout(identifier, repo))


@app.command()
def cancel(identifier: Identifier, json_output: Json = False) -> None:
    """Cancel a task or one attempt; whoever works on it stops within a second."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.cancel(identifier, json_output))


@app.command()
def message(
    identifier: Identifier,
    text: Text,
    update_base: Annotated[
        bool, typer.Option("--update-base", help="Bring its changes to where the base branch is now.")
    ] = False,
    detach: Detach = False,
    json_output: Json = False,
) -> int:
    """Begin a new turn on an attempt that has ended: same files, same conversation, same pull request."""
    from overnight.cli import talk_commands

    return asyncio.run(talk_commands.message(identifier, text, update_base, detach, json_output))


@app.command()
def steer(identifier: Identifier, text: Text, json_output: Json = False) -> None:
    """Say something to a running attempt; its agent reads it after its current action."""
    from overnight.cli import talk_commands

    asyncio.run(talk_commands.steer(identifier, text, json_output))


@app.command()
def answer(identifier: Identifier, text: Text, detach: Detach = False, json_output: Json = False) -> int:
    """Answer what an attempt asks; it goes on from where it stopped."""
    from overnight.cli import talk_commands

    return asyncio.run(talk_commands.answer(identifier, text, detach, json_output))


@app.command()
def pause(identifier: Identifier, json_output: Json = False) -> None:
    """Lay a task or one attempt down within a second; `resume` goes on from its last finished step."""
    from overnight.cli import talk_commands

    asyncio.run(talk_commands.pause(identifier, json_output))


@app.command()
def fork(
    identifier: Identifier,
    at: Step,
    model: Annotated[str, typer.Option(help="Another model. Default: its own.")] = "",
    agent: Annotated[str, typer.Option(help="Another agent. Default: its own.")] = "",
    message: MaybeText = "",
    limits: Annotated[str, typer.Option(help="Other limits, by name: steps=400.")] = "",
    network: Annotated[str, typer.Option(help="Another network, at the start only; as for `run`.")] = "",
    allow: Allow = None,
    deny: Deny = None,
    detach: Detach = False,
    json_output: Json = False,
) -> int:
    """Make a new attempt that begins where one stood after a step: its files and its conversation."""
    from overnight.cli import talk_commands
    from overnight.cli.limit_options import named_limits

    wanted = talk_commands.WantedFork(
        identifier=identifier,
        at=at,
        agent=agent,
        model=model,
        message=message,
        limits=named_limits(limits),
        network=(network, tuple(allow or ()), tuple(deny or ())),
    )
    return asyncio.run(talk_commands.fork(wanted, detach, json_output))


@app.command()
def rewind(
    identifier: Identifier,
    at: Step,
    message: MaybeText = "",
    detach: Detach = False,
    json_output: Json = False,
) -> int:
    """Go back to a step: a fork that takes its origin's place, which is canceled if it still runs."""
    from overnight.cli import talk_commands

    wanted = talk_commands.WantedFork(identifier=identifier, at=at, message=message, replaces=True)
    return asyncio.run(talk_commands.fork(wanted, detach, json_output))


@app.command()
def retry(
    identifier: Identifier,
    allow: Allow = None,
    json_output: Json = False,
) -> int:
    """Start a task again from its beginning, with hosts granted that it was refused."""
    from overnight.cli import task_commands

    return asyncio.run(task_commands.retry(identifier, tuple(allow or ()), json_output))


@app.command()
def usage(identifier: Identifier, json_output: Json = False) -> None:
    """Show model calls, tokens and cost by step, attempt and task."""
    from overnight.cli import usage_commands

    asyncio.run(usage_commands.usage(identifier, json_output))


@app.command()
def export(
    identifier: Identifier,
    form: Annotated[
        str,
        typer.Option("--format", help="`atif`, `mini-swe-agent`, or `recording` (for --model replay:FILE)."),
    ] = "atif",
    output: Annotated[Path | None, typer.Option(help="File to write. Default: standard output.")] = None,
) -> None:
    """Write an attempt as a trajectory that other tools read, or as a recording to replay."""
    from overnight.cli import trajectory_commands

    asyncio.run(trajectory_commands.export(identifier, form, output))


@app.command()
def replay(identifier: Identifier, json_output: Json = False) -> int:
    """Carry an attempt out again with the answers its model gave, and compare the patches.

    Exit code 0: the patches are byte-identical. 1: they are not, or the replay went another way.
    """
    from overnight.cli import trajectory_commands

    return asyncio.run(trajectory_commands.replay(identifier, json_output))


@app.command()
def resume(
    identifier: Identifier,
    more: Annotated[
        str,
        typer.Option(help="What to add to limits, by name: steps=50. Default: what was reached, once more."),
    ] = "",
    detach: Detach = False,
    json_output: Json = False,
) -> int:
    """Go on with a stopped, paused or killed task, from the last finished step of each attempt."""
    from overnight.cli import talk_commands
    from overnight.domain.limits import read_limits

    return asyncio.run(talk_commands.resume(identifier, read_limits(more, "--more"), detach, json_output))
