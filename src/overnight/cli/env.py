"""`overnight env`: what a repository's environment is, building it, and commands run in it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.network_options import Allow, Deny, Network, SetupNetwork

app = typer.Typer(help="Detect and build a repository's environment, and run commands in it.")

Repo = Annotated[str, typer.Option(help="Path or URL of the repository.")]
Base = Annotated[str | None, typer.Option(help="Branch, tag or commit.")]
Sandbox = Annotated[str, typer.Option(help="`auto`, `namespaces`, `bubblewrap`, `container` or `none`.")]
Lend = Annotated[
    bool,
    typer.Option(
        "--lend-setup-secrets",
        help="Let the setup of this commit see its secrets and this machine's package credentials.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NamedLimits = Annotated[
    str, typer.Option(help="Limits by name: processes=200,disk_bytes=8g. All: docs/reference.md.")
]


@app.command()
def detect(
    repo: Repo = ".",
    base: Base = None,
    json_output: Json = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write it into .overnight.toml of the checkout, to be edited.")
    ] = False,
) -> None:
    """Show what would be installed, started and checked, where it comes from, and what is ignored."""
    from overnight.cli import env_commands

    asyncio.run(env_commands.detect(repo, base, Path.cwd(), json_output=json_output, write=write))


@app.command()
def show(
    repo: Repo = ".",
    base: Base = None,
    sandbox: Sandbox = "auto",
    setup_network: SetupNetwork = "",
    json_output: Json = False,
) -> None:
    """Show the environment and which of its snapshots lie ready: key, size, age, whether in use."""
    from overnight.cli import env_commands
    from overnight.domain.network import parse_network

    network = parse_network("none", setup=setup_network)
    asyncio.run(env_commands.show(repo, base, Path.cwd(), sandbox, network, json_output))


@app.command()
def build(
    repo: Repo = ".",
    base: Base = None,
    sandbox: Sandbox = "auto",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run setup again, whatever lies ready.")
    ] = False,
    setup_network: SetupNetwork = "",
    limits: NamedLimits = "",
    lend_setup_secrets: Lend = False,
) -> None:
    """Build the environment now, with live output: setup, services, start commands; nothing is checked."""
    from overnight.cli import env_commands
    from overnight.cli.limit_options import named_limits
    from overnight.domain.network import parse_network

    network, wanted = parse_network("none", setup=setup_network), named_limits(limits)
    asyncio.run(
        env_commands.build(
            repo, base, Path.cwd(), sandbox, network, wanted, fresh=no_cache, lend=lend_setup_secrets
        )
    )


@app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def execute(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The command and its arguments.")],
    repo: Repo = ".",
    base: Base = None,
    network: Network = "none",
    allow: Allow = None,
    deny: Deny = None,
    setup_network: SetupNetwork = "",
    sandbox: Sandbox = "auto",
    limit: Annotated[str | None, typer.Option(help="Time for the command: 90s, 10m. Default: 5m.")] = None,
    limits: NamedLimits = "",
    lend_setup_secrets: Lend = False,
) -> int:
    """Run a command in a fresh sandbox over a fresh workspace; its output and exit code pass through."""
    from overnight.cli import env_commands
    from overnight.cli.limit_options import named_limits
    from overnight.domain.network import parse_network

    granted = parse_network(network, allow or (), deny or (), setup_network)
    wanted = named_limits(limits, ("--limit", "command_seconds", limit))
    return asyncio.run(
        env_commands.execute(
            tuple(command), repo, base, Path.cwd(), granted, sandbox, wanted, lend_setup_secrets
        )
    )


@app.command()
def prune(
    keep: Annotated[
        str | None, typer.Option(help="Remove the longest unused until the rest is below this size: 2g.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Remove what was not used for this time: 7d, 12h.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all that is not in use.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every snapshot in full; name and remove what is damaged.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json_output: Json = False,
) -> None:
    """Remove snapshots of environments; those in use stay, and what is needed again is built again."""
    from overnight.cli import env_commands
    from overnight.domain.quantities import parse_bytes, parse_seconds

    asyncio.run(
        env_commands.prune(
            0 if everything else parse_bytes(keep) if keep else None,
            parse_seconds(older_than) if older_than else None,
            verify=verify,
            dry_run=dry_run,
            json_output=json_output,
        )
    )
