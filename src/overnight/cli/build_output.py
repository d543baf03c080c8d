"""Events of work that belongs to no attempt, as they come: a build in full, an `exec` in remarks only."""

import typer

from overnight.cli.lines import brief, telling
from overnight.cli.text import one_line, plain
from overnight.cli.units import show_seconds
from overnight.domain.events import (
    SERVICE,
    CommandEnded,
    CommandOutput,
    CommandStarted,
    Event,
    LimitHit,
    Noted,
    PhaseChanged,
    PolicyBlocked,
)


class Remarks:
    """Prints on stderr what a person must know although they asked for a command's output only."""

    def emit(self, event: Event) -> None:
        """Print the event, if it is such a one."""
        shown = isinstance(event, LimitHit | Noted | PolicyBlocked)
        if shown or (isinstance(event, CommandStarted) and event.purpose in ("setup", "start", "service")):
            typer.echo(brief(event), err=True)

    async def flush(self) -> None:
        """Return at once."""


class BuildOutput:
    """Prints every event of a build on stderr, and remembers how long each command took."""

    def __init__(self) -> None:
        self._commands: dict[str, str] = {}
        self._took: list[str] = []
        self._at_line_start = True
        self._reused = False

    def emit(self, event: Event) -> None:
        """Print the event; output of commands as it comes, made safe for a terminal."""
        match event:
            case CommandOutput():
                self._write(plain(event.text))
            case CommandStarted():
                self._commands[event.command_id] = event.command
                self._line(brief(event) or "")
            case CommandEnded():
                took = show_seconds(event.seconds)
                stopped = f", stopped by the limit {event.limit}" if event.limit else ""
                self._line(f"  exit {event.exit_code} after {took}{stopped}")
                if not event.command_id.startswith(SERVICE):
                    command = one_line(telling(self._commands.get(event.command_id, "")))
                    self._took.append(f"{took:>10}  {command}")
            case PhaseChanged():
                self._reused = self._reused or event.detail == "reusing snapshot"
                self._line(brief(event) or "")
            case _:
                if (line := brief(event)) is not None:
                    self._line(line)

    async def flush(self) -> None:
        """Return at once."""

    def summary(self) -> list[str]:
        """Return how long each command took, or that none had to run."""
        if self._took:
            return self._took
        return ["nothing had to run: setup lies ready" if self._reused else "nothing had to be installed"]

    def _line(self, text: str) -> None:
        if not self._at_line_start:
            self._write("\n")
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        if text:
            typer.echo(text, nl=False, err=True)
            self._at_line_start = text.endswith("\n")
