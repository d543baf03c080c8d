"""`overnight secret`: values that go in and never come out again."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Hand over secrets: they are kept sealed, and cannot be read back.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="As a variable is named: NPM_TOKEN.")]
Repo = Annotated[
    str | None, typer.Option(help="Path or URL of the one repository that it is for. Default: all.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("set")
def set_secret(
    name: Name,
    repo: Repo = None,
    phase: Annotated[
        str, typer.Option(help="Who may use it: `setup`, `agent` (by placeholder) or `publisher`.")
    ] = "setup",
    host: Annotated[
        list[str] | None, typer.Option(help="For `agent`: host that gets the value; may be given again.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Keep a value under NAME, read from standard input or asked for; never given as an argument."""
    from overnight.cli import secret_commands

    asyncio.run(secret_commands.set_secret(name, repo, phase, tuple(host or ()), Path.cwd(), json_output))


@app.command("list")
def list_secrets(json_output: Json = False) -> None:
    """List names, phases, hosts, versions and dates; never values."""
    from overnight.cli import secret_commands

    asyncio.run(secret_commands.list_secrets(json_output))


@app.command()
def remove(name: Name, repo: Repo = None) -> None:
    """Forget a secret."""
    from overnight.cli import secret_commands

    asyncio.run(secret_commands.remove(name, repo, Path.cwd()))
