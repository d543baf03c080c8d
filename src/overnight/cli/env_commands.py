"""What the `overnight env` commands do."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import typer

from overnight.cli.build_output import BuildOutput, Remarks
from overnight.cli.recipe_lines import recipe_lines, recipe_toml
from overnight.cli.report import blocked_lines
from overnight.cli.text import one_line
from overnight.cli.units import show_bytes, show_seconds
from overnight.cli.wire import opened
from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.limits import lower_limits
from overnight.domain.network import Network

OWN_FILE = ".overnight.toml"


async def detect(repo: str, base: str | None, directory: Path, *, json_output: bool, write: bool) -> None:
    """Print the recipe of a repository, or write it into the checkout."""
    async with opened() as application:
        admission = await application.repositories.admit(repo, base, directory)
        recipe = await application.repositories.recipe(admission)
        _, refused = lower_limits(application.limits({}), recipe.limits)
    if write:
        _write(Path(admission.repository.origin), recipe_toml(recipe))
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(recipe)))
        return
    for line in recipe_lines(recipe):
        typer.echo(line)
    for line in refused:
        typer.echo(f"  ignored: {OWN_FILE}: {line}")
    if not recipe.checks:
        typer.echo("No checks were found: give them with --check, or in .overnight.toml", err=True)


def _write(checkout: Path, text: str) -> None:
    """Put a new `.overnight.toml` into the person's checkout; one that is there is theirs."""
    if not checkout.is_dir():
        raise UsageError(
            "--write needs a checkout on this machine", "Give --repo the path of one, or run it there."
        )
    path = checkout / OWN_FILE
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConflictError(f"{path} is there already", "Edit it, or remove it first.") from None
    typer.echo(f"wrote {path}: edit it, then commit it (only what is committed counts)", err=True)


async def show(
    repo: str, base: str | None, directory: Path, sandbox: str, network: Network, json_output: bool
) -> None:
    """Print the recipe and how its snapshot stands."""
    async with opened() as application:
        admission = await application.repositories.admit(repo, base, directory)
        standing = await application.work.standing(admission, sandbox, network.setup)
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(standing)))
        return
    for line in recipe_lines(standing.recipe):
        typer.echo(line)
    typer.echo("snapshot:")
    for layer in standing.layers:
        pinned = ", in use" if layer.pinned else ""
        age = show_seconds(layer.unused_seconds)
        typer.echo(f"  {one_line(layer.key, 140)}: {show_bytes(layer.bytes)}, used {age} ago{pinned}")
    kinds = {layer.key.split("-", 1)[0] for layer in standing.layers}
    if "checkouts" not in kinds:
        typer.echo("  not checked out yet: the next attempt, or `overnight env build`, does it")
    if standing.recipe.setup and "setups" not in kinds:
        typer.echo("  setup has not run yet: the next attempt, or `overnight env build`, runs it")


async def build(
    repo: str, base: str | None, directory: Path, sandbox: str, network: Network,
    limits: Mapping[str, float], *, fresh: bool, lend: bool,
) -> None:  # fmt: skip
    """Build the environment with live output, and say what is kept."""
    output = BuildOutput()
    async with opened() as application:
        admission = await application.repositories.admit(repo, base, directory)
        for note in admission.notes:
            typer.echo(f"note: {one_line(note, 300)}", err=True)
        bounds = application.limits(limits)
        standing = await application.work.build(
            admission, sandbox, bounds, output, fresh, lend, network.setup
        )
    for line in output.summary():
        typer.echo(line)
    for layer in standing.layers:
        typer.echo(f"cached: {one_line(layer.key, 140)}: {show_bytes(layer.bytes)}")


async def execute(
    command: tuple[str, ...],
    repo: str,
    base: str | None,
    directory: Path,
    network: Network,
    sandbox: str,
    limits: Mapping[str, float],
    lend: bool,
) -> int:
    """Run a command as an attempt's command would be run."""

    def on_output(stream: str, data: bytes) -> None:
        target = sys.stdout if stream == "stdout" else sys.stderr
        target.buffer.write(data)
        target.buffer.flush()

    async with opened() as application:
        admission = await application.repositories.admit(repo, base, directory)
        result, blocked = await application.work.execute(
            admission, command, network, sandbox, application.limits(limits), Remarks(), on_output, lend
        )
    for line in blocked_lines(blocked):
        typer.echo(line, err=True)
    if result.limit is not None:
        typer.echo(f"stopped by the limit {result.limit}: {result.detail}".rstrip(": "), err=True)
    return result.exit_code if result.exit_code >= 0 else 128 - result.exit_code


async def prune(
    max_bytes: int | None, max_age: float | None, *, verify: bool, dry_run: bool, json_output: bool
) -> None:
    """Remove snapshots, the damaged ones first where they are to be verified, and say which."""
    if max_bytes is None and max_age is None and not verify:
        raise UsageError(
            "Nothing says what is to go",
            "Give --all, --older-than 7d or --keep 2g (--dry-run only looks), or --verify.",
        )
    if verify and dry_run:
        raise UsageError("--verify removes what is damaged", "Leave --dry-run out.")
    async with opened() as application:
        storage = application.storage
        damaged, count = storage.verify() if verify else ({}, 0)
        gone, left = storage.evict(max_bytes, max_age, dry_run)
    freed = sum(layer.bytes for layer in gone)
    if json_output:
        removed = msgspec.to_builtins(gone)
        shown = {"removed": removed, "bytes": freed, "left_bytes": left, "dry_run": dry_run}
        typer.echo(json.dumps({**shown, "verified": count, "damaged": damaged} if verify else shown))
        return
    for key, problem in damaged.items():
        typer.echo(f"  damaged: {one_line(key, 140)}: {one_line(problem, 300)}")
    if verify:
        typer.echo(f"verified: {count} {'layer' if count == 1 else 'layers'}, {len(damaged)} damaged")
    for layer in gone:
        typer.echo(f"  {one_line(layer.key, 140)}: {show_bytes(layer.bytes)}")
    verb = "would remove" if dry_run else "removed"
    typer.echo(
        f"{verb}: {len(gone)} {'layer' if len(gone) == 1 else 'layers'}, {show_bytes(freed)}; "
        f"{show_bytes(left)} {'would stay' if dry_run else 'stay'}"
    )
