"""What `overnight doctor` does."""

import json

import msgspec
import typer

from overnight.cli.wire import opened


async def doctor(json_output: bool) -> bool:
    """Print how each sandbox does here; return whether a safe one works."""
    async with opened() as application:
        found = await application.sandboxes.examinations()
    active = next((one.name for one in found if one.works and one.safe), None)
    if json_output:
        backends = [{**msgspec.to_builtins(one), "active": one.name == active} for one in found]
        typer.echo(json.dumps({"active": active, "backends": backends}))
        return active is not None
    for one in found:
        mark = "active" if one.name == active else ("works" if one.works else "does not work")
        what = "" if one.safe else " (no isolation: only by name, `--sandbox none`)"
        typer.echo(f"{one.name}: {mark}{what}")
        if not one.works:
            typer.echo(f"  {one.problem}")
            if one.hint:
                typer.echo(f"  {one.hint}")
            continue
        typer.echo(f"  networks: {', '.join(one.networks)}")
        typer.echo(
            f"  one sandbox for a whole attempt: {'yes' if one.lasting else 'no, one for each command'}"
        )
        for name, how in one.enforces.items():
            typer.echo(f"  {name}: {how}")
    if active is None:
        typer.echo(
            "No sandbox works here: tasks are refused, unless isolation is given up by name.", err=True
        )
    return active is not None
