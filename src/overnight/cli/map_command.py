"""What `overnight map` does."""

import json
import time
from pathlib import Path

import msgspec
import typer

from overnight.cli.wire import opened
from overnight.domain.errors import NotFoundError, UsageError

MOST_TOKENS = 100_000


async def show(
    repo: str, base: str | None, directory: Path, focus: str, tokens: int, *, json_output: bool
) -> None:
    """Print the map, and on stderr what it cost and left out."""
    if not 0 <= tokens <= MOST_TOKENS:
        raise UsageError(f"--tokens {tokens} is no size for a map", f"Give a number up to {MOST_TOKENS:,}.")
    async with opened() as application:
        admission = await application.repositories.admit(repo, base, directory)
        limits = application.limits({})
        started = time.monotonic()
        size = tokens or limits.map_tokens
        drawn, left_out = await application.work.draw_map(admission, focus, size, limits)
        seconds = time.monotonic() - started
    if json_output:
        shown = msgspec.to_builtins(drawn)
        typer.echo(json.dumps({**shown, "left_out": left_out, "seconds": round(seconds, 3)}))
        return
    typer.echo(drawn.text, nl=False)
    typer.echo(f"{len(drawn.files)} files, about {drawn.tokens:,} tokens, {seconds:.2f} s", err=True)
    for reason, count in sorted(left_out.items()):
        typer.echo(f"left out: {count} {'file' if count == 1 else 'files'} ({reason})", err=True)
    if not drawn.files:
        typer.echo("No source file in a language that the map knows was found.", err=True)


async def look_up(repo: str, base: str | None, directory: Path, name: str, *, json_output: bool) -> None:
    """Print where a name is defined and referred to.

    Raises:
        NotFoundError: nothing has that name.
    """
    async with opened() as application:
        admission = await application.repositories.admit(repo, base, directory)
        symbol = await application.work.find_symbol(admission, name, application.limits({}))
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(symbol)))
        return
    if not symbol.definitions and not symbol.references:
        near = f"Names like it: {', '.join(symbol.near)}" if symbol.near else ""
        raise NotFoundError(f"Nothing is defined or referred to as {symbol.name!r}", near)
    for place in symbol.definitions:
        typer.echo(f"{place.path}:{place.line}: {place.text}")
    for place in symbol.references:
        typer.echo(f"  {place.path}:{place.line}: {place.text}")
