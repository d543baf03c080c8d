"""`overnight env`: what a repository's environment is, and commands run in it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.network_options import Allow, Deny, Network, SetupNetwork

app = typer.Typer(help="Detect a repository's environment and run commands in it.")

Repo = Annotated[str, typer.Option(help="Path or URL of the repository.")]
Base = Annotated[str | None, typer.Option(help="Branch, tag or commit.")]


@app.command()
def detect(
    repo: Repo = ".",
    base: Base = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what would be installed and checked, and where each part of it comes from."""
    from overnight.cli import env_commands

    asyncio.run(env_commands.detect(repo, base, Path.cwd(), json_output))


@app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def execute(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The command and its arguments.")],
    repo: Repo = ".",
    base: Base = None,
    network: Network = "none",
    allow: Allow = None,
    deny: Deny = None,
    setup_network: SetupNetwork = "",
    sandbox: Annotated[str, typer.Option(help="`auto`, `namespaces`, or `none`.")] = "auto",
    limit: Annotated[str, typer.Option(help="Time for the command: 90s, 10m.")] = "5m",
) -> int:
    """Run a command in a fresh sandbox over a fresh workspace; its output and exit code pass through."""
    from overnight.cli import env_commands
    from overnight.cli.units import parse_seconds
    from overnight.domain.network import parse_network

    granted = parse_network(network, allow or (), deny or (), setup_network)
    return asyncio.run(
        env_commands.execute(tuple(command), repo, base, Path.cwd(), granted, sandbox, parse_seconds(limit))
    )
