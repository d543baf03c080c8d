"""`overnight run`: submit a task, follow it to its end, say what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.network_options import Allow, Deny, Network, SetupNetwork

Limit = Annotated[str | None, typer.Option(help="Time for one attempt's work: 90s, 10m, 1h. Default: 30m.")]
Memory = Annotated[str | None, typer.Option(help="Memory of one attempt's sandbox: 512m, 4g. Default: 4g.")]
NamedLimits = Annotated[
    str, typer.Option(help="Limits by name: processes=200,disk_bytes=8g. All: docs/reference.md.")
]

AllowTests = Annotated[
    bool, typer.Option("--allow-test-changes", help="Let the patch change tests and check configuration.")
]
Sandbox = Annotated[str, typer.Option(help="`auto`, `namespaces`, `bubblewrap`, `container` or `none`.")]
Lend = Annotated[
    bool,
    typer.Option(
        "--lend-setup-secrets",
        help="Let the setup of this commit see its secrets and this machine's package credentials.",
    ),
]
Check = Annotated[
    list[str] | None,
    typer.Option(help="Command that must pass; may be given again. Default: those of the environment."),
]
Wait = Annotated[str | None, typer.Option(help="Stop waiting after this time (exit code 124); resumable.")]
Base = Annotated[
    str | None, typer.Option(help="Branch, tag or commit to start from. Default: the current branch.")
]
NotifyCommand = Annotated[
    str | None, typer.Option(help="Command to run at the end; gets OVERNIGHT_* variables.")
]


def run(
    prompt: Annotated[str, typer.Argument(metavar="TASK", help="What is to be done, in your own words.")],
    repo: Annotated[str, typer.Option(help="Path or URL of the repository.")] = ".",
    base: Base = None,
    attempts: Annotated[int, typer.Option(min=1, max=64, help="How many attempts to make.")] = 1,
    agent: Annotated[
        str | None, typer.Option(help="`repair`, `loop`, or several by comma. Default: what suits the model.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="`embedded`, `provider:name`, or several by comma.")
    ] = None,
    check: Check = None,
    limit: Limit = None,
    memory: Memory = None,
    limits: NamedLimits = "",
    wait: Wait = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Skip verification.")] = False,
    allow_test_changes: AllowTests = False,
    lend_setup_secrets: Lend = False,
    sandbox: Sandbox = "auto",
    network: Network = "none",
    allow: Allow = None,
    deny: Deny = None,
    setup_network: SetupNetwork = "",
    notify_command: NotifyCommand = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> int:
    """Work on TASK in a sandbox and come back with a verified local pull request.

    Exit code 0: done and verified. 3: ended without a verified patch. 130: stopped by Ctrl-C, resumable.
    """
    import asyncio

    from overnight.cli.limit_options import named_limits
    from overnight.cli.submission import Wanted, carry_out
    from overnight.domain.network import parse_network
    from overnight.domain.quantities import parse_seconds

    wanted = Wanted(
        prompt=prompt,
        repo=repo,
        base=base,
        attempts=attempts,
        agents=_names(agent),
        models=_names(model),
        checks=tuple(check or ()),
        limits=named_limits(
            limits, ("--limit", "attempt_seconds", limit), ("--memory", "memory_bytes", memory)
        ),
        wait_seconds=parse_seconds(wait) if wait else None,
        verify=not no_verify,
        allow_test_changes=allow_test_changes,
        lend_setup_secrets=lend_setup_secrets,
        sandbox=sandbox,
        network=parse_network(network, allow or (), deny or (), setup_network),
        notify_command=notify_command,
        json_output=json_output,
        directory=Path.cwd(),
    )
    return asyncio.run(carry_out(wanted))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
