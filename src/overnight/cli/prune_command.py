"""What `overnight prune` does."""

import json

import msgspec
import typer

from overnight.cli.units import show_bytes
from overnight.cli.wire import opened


async def prune(keep_bytes: int, older_than: float | None, dry_run: bool, json_output: bool) -> None:
    """Remove what is unused and say what it was."""
    async with opened() as application:
        freed = await application.storage.prune(
            keep_bytes, older_than, application.clock.time(), dry_run=dry_run
        )
    if json_output:
        typer.echo(json.dumps({**msgspec.to_builtins(freed), "dry_run": dry_run}))
        return
    verb = "would remove" if dry_run else "removed"
    typer.echo(
        f"{verb}: {show_bytes(freed.snapshots_bytes)} of snapshots, {freed.workspaces} workspaces, "
        f"{freed.blobs} files, {freed.tasks} tasks"
    )
    takes = "would take" if dry_run else "takes"
    before, after = show_bytes(freed.before_bytes), show_bytes(freed.after_bytes)
    typer.echo(f"the data directory {takes} {after} (before: {before})")
