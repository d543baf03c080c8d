"""What the `overnight model` commands do."""

import typer
from rich.console import Console

from overnight.cli.wire import opened


async def pull() -> None:
    """Fetch the embedded model."""
    async with opened() as application:
        path = await application.pull(Console(stderr=True, highlight=False))
    typer.echo(str(path))
