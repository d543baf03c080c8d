"""`overnight task`: look at tasks, take their patches, cancel and resume them."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.network_options import Allow

app = typer.Typer(help="Look at tasks, take their patches, cancel and resume them.")

Identifier = Annotated[str, typer.Argument(metavar="ID", help="Task or attempt: its id or the start of it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
def cancel(identifier: Identifier) -> None:
    """Cancel a task or one attempt; whoever works on it stops within a second."""
    from overnight.cli import task_commands

    asyncio.run(task_commands.cancel(identifier))


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
def resume(identifier: Identifier, json_output: Json = False) -> int:
    """Go on with a stopped or killed task, from the last finished step of each attempt."""
    from overnight.cli import task_commands

    return asyncio.run(task_commands.resume(identifier, json_output))
