"""`overnight pr`: the local forge's pull requests."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="Look at pull requests and merge them.")

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="The pull request's number.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_pull_requests(json_output: Json = False) -> None:
    """List pull requests, newest first."""
    from overnight.cli import pr_commands

    asyncio.run(pr_commands.list_pull_requests(json_output))


@app.command()
def view(
    number: Number,
    patch: Annotated[bool, typer.Option("--patch", help="Show the patch as well.")] = False,
    json_output: Json = False,
) -> None:
    """Show a pull request: title, evidence, branch."""
    from overnight.cli import pr_commands

    asyncio.run(pr_commands.view(number, patch, json_output))


@app.command()
def create(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The attempt whose patch to publish.")],
    json_output: Json = False,
) -> None:
    """Open a pull request for an attempt that was not published by itself, on your own word."""
    from overnight.cli import pr_commands

    asyncio.run(pr_commands.create(identifier, json_output))


@app.command()
def merge(number: Number, json_output: Json = False) -> None:
    """Merge into your repository: fast-forward or a merge commit, never under uncommitted work."""
    from overnight.cli import pr_commands

    asyncio.run(pr_commands.merge(number, json_output))
