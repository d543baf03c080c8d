"""What the `overnight secret` commands do."""

import json
import sys
import time
from pathlib import Path

import typer

from overnight.cli.text import one_line
from overnight.cli.wire import opened
from overnight.domain.errors import UsageError
from overnight.domain.secret import MAX_BYTES, Secret


async def set_secret(
    name: str, repo: str | None, phase: str, hosts: tuple[str, ...], directory: Path, json_output: bool
) -> None:
    """Read a value and seal it."""
    value = _value(name)
    async with opened() as application:
        origin = application.repositories.origin_of(repo, directory)
        may_make = application.settings.master_key is None
        secret, replaced = await application.vault.set(
            name, value, phase=phase, hosts=hosts, origin=origin, make_key=may_make
        )
    if json_output:
        typer.echo(json.dumps(_object(secret)))
        return
    typer.echo(f"{'Replaced' if replaced else 'Set'} {_line(secret)}")
    if phase == "setup":
        typer.echo(
            "Setup gets it once you say so for a commit: --lend-setup-secrets (run, env build, env exec)",
            err=True,
        )


async def list_secrets(json_output: bool) -> None:
    """Print what is known of each secret but its value."""
    async with opened() as application:
        found = await application.vault.list()
    if json_output:
        typer.echo(json.dumps([_object(secret) for secret in found]))
        return
    for secret in found:
        typer.echo(_line(secret))
    if not found:
        typer.echo("No secrets. Set one: overnight secret set NAME", err=True)


async def remove(name: str, repo: str | None, directory: Path) -> None:
    """Forget a secret."""
    async with opened() as application:
        await application.vault.remove(name, application.repositories.origin_of(repo, directory))
    typer.echo(f"Removed {name}")


def _value(name: str) -> str:
    """Return the value: typed without being shown, or all of standard input but one last line break."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"Value of {one_line(name, 64)}", hide_input=True, confirmation_prompt=True))
    # Two bytes for a line break; what is longer than allowed is refused later, but not read to its end.
    raw = sys.stdin.buffer.read(MAX_BYTES + 3)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise UsageError("The value is not text in UTF-8", "Encode it first, for example by base64") from None
    return text.removesuffix("\n").removesuffix("\r")


def _line(secret: Secret) -> str:
    where = secret.scope or "all repositories"
    hosts = f" at {', '.join(secret.hosts)}" if secret.hosts else ""
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(secret.created_at))
    return one_line(
        f"{secret.name}  {secret.phase}{hosts}  {where}  version {secret.version[:8]}  {day}", 500
    )


def _object(secret: Secret) -> dict[str, object]:
    return {
        "name": secret.name,
        "phase": secret.phase,
        "hosts": list(secret.hosts),
        "repository": secret.scope or None,
        "version": secret.version,
        "created_at": secret.created_at,
    }
