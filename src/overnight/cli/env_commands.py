"""What the `overnight env` commands do."""

import json
import sys
from pathlib import Path

import msgspec
import typer

from overnight.cli.text import one_line
from overnight.cli.wire import opened
from overnight.domain.environment import NetworkPolicy
from overnight.domain.errors import UsageError
from overnight.domain.limits import Limits

NETWORKS: dict[str, NetworkPolicy] = {"none": "none", "open": "open"}


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
    network: str,
    sandbox: str,
    seconds: float,
) -> int:
    """Run a command as an attempt's command would be run."""
    if network not in NETWORKS:
        raise UsageError(f"There is no network policy {network!r}", f"Use one of: {', '.join(NETWORKS)}")
    limits = Limits(command_seconds=seconds)

    def on_output(stream: str, data: bytes) -> None:
        target = sys.stdout if stream == "stdout" else sys.stderr
        target.buffer.write(data)
        target.buffer.flush()

    async with opened() as application:
        admission = await application.admit(repo, base, directory)
        result = await application.execute(admission, command, NETWORKS[network], sandbox, limits, on_output)
    if result.limit is not None:
        typer.echo(f"stopped by the limit {result.limit}: {result.detail}".rstrip(": "), err=True)
    return result.exit_code if result.exit_code >= 0 else 128 - result.exit_code
