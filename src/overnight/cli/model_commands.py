"""What the `overnight model` commands do."""

import asyncio
import json

import msgspec
import typer
from rich.console import Console

from overnight.cli.units import show_bytes
from overnight.cli.wire import opened


async def list_models(json_output: bool) -> None:
    """Print the embedded model's state and the providers."""
    async with opened() as application:
        listing = application.models.listing()
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(listing)))
        return
    for model in listing.local:
        if model.ready:
            state = f"on disk, {show_bytes(model.size)}"
        elif model.on_disk:
            state = f"{show_bytes(model.on_disk)} of {show_bytes(model.size)} fetched"
        else:
            state = f"not fetched yet ({show_bytes(model.size)}): overnight model pull"
        running = f"; server running (pid {model.server.pid})" if model.server.running else ""
        typer.echo(f"{model.name:12} {model.file}: {state}{running}")
    for provider in listing.providers:
        typer.echo(f"{provider.name + ':NAME':24} {provider.standing}")


async def pull() -> None:
    """Fetch the embedded model."""
    async with opened() as application:
        path = await application.models.pull(Console(stderr=True, highlight=False))
    typer.echo(str(path))


async def remove() -> None:
    """Delete the embedded model."""
    async with opened() as application:
        freed = await application.models.remove()
    typer.echo(f"Removed: {show_bytes(freed)}" if freed else "There was nothing to remove.", err=True)


async def serve(port: int) -> None:
    """Serve the embedded model until Ctrl-C."""
    console = Console(stderr=True, highlight=False)

    def on_ready(url: str, token: str) -> None:
        typer.echo(json.dumps({"base_url": url, "api_key": token}))
        console.print("Serving until Ctrl-C. The line above is for any OpenAI-compatible client.")

    async with opened() as application:
        try:
            await application.models.serve(port, console, on_ready)
        except asyncio.CancelledError:
            console.print("Stopped.")
            raise
