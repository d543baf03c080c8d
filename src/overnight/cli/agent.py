"""`overnight agent`: the agents there are, and the programs among them installed and tried."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="Agents: built in, and programs of others.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Names = Annotated[
    list[str], typer.Argument(metavar="AGENT...", help="Names as `overnight agent list` shows them.")
]


@app.command("list")
def list_agents(json_output: Json = False) -> None:
    """Show every agent, its version and licence, and whether it can be used."""
    from overnight.cli import agent_commands

    asyncio.run(agent_commands.list_agents(json_output))


@app.command()
def install(names: Names) -> None:
    """Install agent programs at their pinned versions, beside the models in the cache."""
    from overnight.cli import agent_commands

    asyncio.run(agent_commands.install(names))


@app.command()
def remove(names: Names) -> None:
    """Remove installed agent programs."""
    from overnight.cli import agent_commands

    asyncio.run(agent_commands.remove(names))


@app.command()
def doctor(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[AGENT]...", help="All installed ones by default.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Run agent programs in the sandbox against a model that only says hello.

    Ends with 1 if one of them does not start there, or does not find its model.
    """
    from overnight.cli import agent_commands

    if not asyncio.run(agent_commands.doctor(names or [], json_output)):
        raise typer.Exit(1)
