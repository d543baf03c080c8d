"""What the `overnight env` commands do."""

import json
import sys
from pathlib import Path

import msgspec
import typer

from overnight.cli.report import blocked_lines
from overnight.cli.text import one_line
from overnight.cli.wire import opened
from overnight.domain.network import Network
from overnight.domain.task import Limits


async def detect(repo: str, base: str | None, directory: Path, json_output: bool) -> None:
    """Print the recipe of a repository."""
    async with opened() as application:
        admission = await application.admit(repo, base, directory)
        recipe = await application.recipe(admission)
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(recipe)))
        return
    typer.echo(f"languages:  {', '.join(recipe.languages) or 'none recognised'}")
    for label, lines in (
        ("setup", recipe.setup),
        ("checks", recipe.checks),
        ("lock files", recipe.lock_files),
    ):
        for index, line in enumerate(lines or ("(none)",)):
            typer.echo(f"{label + ':' if index == 0 else '':11} {one_line(line, 200)}")
    if recipe.path:
        typer.echo(f"path:       {':'.join(recipe.path)}")
    typer.echo("because:")
    for source in recipe.sources:
        typer.echo(f"  {one_line(source, 200)}")
    if not recipe.checks:
        typer.echo("No checks were found: give them with --check, or in .overnight.toml", err=True)


async def execute(
    command: tuple[str, ...],
    repo: str,
    base: str | None,
    directory: Path,
    network: Network,
    sandbox: str,
    seconds: float,
) -> int:
    """Run a command as an attempt's command would be run."""
    limits = Limits(command_seconds=seconds)

    def on_output(stream: str, data: bytes) -> None:
        target = sys.stdout if stream == "stdout" else sys.stderr
        target.buffer.write(data)
        target.buffer.flush()

    async with opened() as application:
        admission = await application.admit(repo, base, directory)
        result, blocked = await application.execute(admission, command, network, sandbox, limits, on_output)
    for line in blocked_lines(blocked):
        typer.echo(line, err=True)
    if result.limit is not None:
        typer.echo(f"stopped by the limit {result.limit}: {result.detail}".rstrip(": "), err=True)
    return result.exit_code if result.exit_code >= 0 else 128 - result.exit_code
