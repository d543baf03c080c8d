"""`overnight model`: the embedded model's file and server, and which other models can be used."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="Manage the embedded model and see which others can be used.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(json_output: Json = False) -> None:
    """List models: the embedded one's state, and providers with their keys set or not."""
    from overnight.cli import model_commands

    asyncio.run(model_commands.list_models(json_output))


@app.command()
def pull() -> None:
    """Fetch the embedded model now; an interrupted fetch goes on where it stood."""
    from overnight.cli import model_commands

    asyncio.run(model_commands.pull())


@app.command()
def remove() -> None:
    """Delete the embedded model's file, stopping its server first."""
    from overnight.cli import model_commands

    asyncio.run(model_commands.remove())


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Loopback port; 0 takes a free one.")] = 0,
) -> None:
    """Run the embedded model as an OpenAI-compatible server on loopback until Ctrl-C."""
    from overnight.cli import model_commands

    asyncio.run(model_commands.serve(port))
