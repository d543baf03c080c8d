"""`overnight prune`: give disk back."""

import asyncio
from typing import Annotated

import typer


def prune(
    keep: Annotated[
        str | None,
        typer.Option(help="Bring the data directory below this size. Default: everything unused goes."),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Also forget ended tasks older than this: 30d, 12h.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove snapshots, workspaces and files that nothing needs any more.

    Pull requests, patches and logs stay, unless `--older-than` is given.
    """
    from overnight.cli import prune_command
    from overnight.domain.quantities import parse_bytes, parse_seconds

    asyncio.run(
        prune_command.prune(
            parse_bytes(keep) if keep else 0,
            parse_seconds(older_than) if older_than else None,
            dry_run,
            json_output,
        )
    )
