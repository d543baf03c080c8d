"""What the `overnight agent` commands do."""

import asyncio
import json
from collections.abc import Sequence

import msgspec
import typer

from overnight.cli.wire import Trial, opened


async def list_agents(json_output: bool) -> None:
    """Print every agent."""
    async with opened() as application:
        listing = application.agents.listing()
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(listing)))
        return
    for one in listing:
        if one.source == "built in":
            typer.echo(f"{one.name:16} built in")
            continue
        state = "installed" if one.installed else f"not installed: overnight agent install {one.name}"
        if one.source == "host":
            state = "in your PATH" if one.installed else "not in your PATH; no registry of packages has it"
        typer.echo(f"{one.name:16} {one.title} {one.version}".rstrip() + f" ({one.licence}): {state}")


async def install(names: Sequence[str]) -> None:
    """Install programs."""
    async with opened() as application:
        try:
            await application.agents.install(names, _say)
        except asyncio.CancelledError:
            _say("Interrupted: what was not finished is removed; the same command installs it.")
            raise


async def remove(names: Sequence[str]) -> None:
    """Remove programs."""
    async with opened() as application:
        removed = application.agents.remove(names)
    _say(f"Removed: {', '.join(removed)}" if removed else "There was nothing to remove.")


async def doctor(names: Sequence[str], json_output: bool) -> bool:
    """Try programs; return whether all of them work."""
    trials: list[Trial] = []
    async with opened() as application:
        async for trial in application.agents.trials(names):
            trials.append(trial)
            if not json_output:
                found = f"works: {trial.version}, first request after {trial.seconds} s"
                typer.echo(f"{trial.name}: " + (found if trial.works else f"does not work: {trial.problem}"))
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(trials)))
    elif not trials:
        _say("No agent program is installed: overnight agent list")
    return all(trial.works for trial in trials)


def _say(line: str) -> None:
    typer.echo(line, err=True)
