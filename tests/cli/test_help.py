"""Every command can say what it is for."""

import pytest
import typer.main
from typer.testing import CliRunner

from overnight.cli.main import app


def _commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    pending: list[tuple[tuple[str, ...], object]] = [((), typer.main.get_command(app))]
    while pending:
        path, command = pending.pop()
        for name, below in getattr(command, "commands", {}).items():
            found.append((*path, name))
            pending.append(((*path, name), below))
    return sorted(found)


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_help_is_shown(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.exception
    assert "Usage:" in result.output
