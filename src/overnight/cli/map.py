"""`overnight map`: what an agent is shown of a repository at first."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer


def map_(
    repo: Annotated[str, typer.Option(help="Path or URL of the repository.")] = ".",
    base: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    focus: Annotated[str, typer.Option(help="A task, names or a traceback: what the map is for.")] = "",
    tokens: Annotated[
        int, typer.Option(help="The map's size, about; the limit map_tokens if not given.")
    ] = 0,
    symbol: Annotated[str, typer.Option(help="Look one name up instead.")] = "",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the map of a repository as an agent sees it, or where a name is defined and referred to."""
    from overnight.cli import map_command

    if symbol:
        asyncio.run(map_command.look_up(repo, base, Path.cwd(), symbol, json_output=json_output))
    else:
        asyncio.run(map_command.show(repo, base, Path.cwd(), focus, tokens, json_output=json_output))
