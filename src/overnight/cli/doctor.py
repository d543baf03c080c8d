"""`overnight doctor`: what this machine can isolate, and how."""

import asyncio
from typing import Annotated

import typer


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try every sandbox on this machine; say which is used, what each enforces, and what is missing.

    Ends with 0 if a sandbox that isolates works here, else with 1.
    """
    from overnight.cli import doctor_command

    if not asyncio.run(doctor_command.doctor(json_output)):
        raise typer.Exit(1)
