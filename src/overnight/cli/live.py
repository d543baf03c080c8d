"""Attempts as they happen: printed lines that stay, and one status line for each that is redrawn."""

import asyncio
import time
from collections.abc import Collection, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from overnight.cli.lines import brief
from overnight.cli.text import one_line
from overnight.cli.units import show_seconds
from overnight.domain.events import Recorded
from overnight.domain.task import Attempt
from overnight.events.folds import Status, status
from overnight.events.log import EventLog

REFRESH_PER_SECOND = 4
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Line:
    """The status line of one attempt: a fold over its events, and when the last one was seen."""

    def __init__(self, attempt: Attempt) -> None:
        self.number = attempt.number
        self.seen = time.monotonic()
        self.status = Status()

    def take(self, recorded: Recorded) -> None:
        """Fold one event in."""
        self.seen = time.monotonic()
        self.status = status([recorded], self.status)

    def render(self, width: int) -> Text:
        """Return the line; `width` columns are there."""
        now = self.status
        parts = [f"attempt {self.number}", now.phase or "queued"]
        if now.step:
            parts.append(f"step {now.step}")
        tokens = now.usage.input_tokens + now.usage.output_tokens
        if tokens:
            parts.append(f"{tokens / 1000:.1f}k tokens")
        if now.files:
            parts.append(", ".join(one_line(file.path, 40) for file in now.files[-3:]))
        doing = now.waiting_for or (f"$ {now.command}" if now.command_running else now.title or now.detail)
        parts.append(f"last event {show_seconds(time.monotonic() - self.seen)} ago")
        if doing:
            parts.append(one_line(doing, 80))
        frame = FRAMES[int(time.monotonic() * REFRESH_PER_SECOND) % len(FRAMES)]
        line = Text(f"{frame} " + " · ".join(parts), style="dim")
        line.truncate(width, overflow="ellipsis")
        return line


class LiveDisplay:
    """Follows the logs of attempts on stderr. What it shows was on disk before it was shown."""

    def __init__(self, console: Console, log: EventLog, attempts: Sequence[Attempt]) -> None:
        self._console = console
        self._log = log
        self._attempts = attempts
        self._lines = [Line(attempt) for attempt in attempts]
        self._many = len(attempts) > 1

    async def follow(self, after: dict[str, int] | None = None, awake: Collection[str] = ()) -> None:
        """Show events until every attempt has ended or waits for a person.

        `after` is the `seq` per attempt to start behind; those in `awake` are about to go on.
        """
        after = after or {}
        followers = [
            self._follow(attempt, line, after.get(attempt.id, 0), attempt.id in awake)
            for attempt, line in zip(self._attempts, self._lines, strict=True)
        ]
        if not self._console.is_terminal:
            await asyncio.gather(*followers)
            return
        with Live(console=self._console, get_renderable=self._render, refresh_per_second=REFRESH_PER_SECOND):
            await asyncio.gather(*followers)

    async def _follow(self, attempt: Attempt, line: Line, after: int, awake: bool) -> None:
        prefix = f"[{attempt.number}] " if self._many else ""
        async for recorded in self._log.follow(attempt.id, after=after, awake=awake):
            line.take(recorded)
            text = brief(recorded.event)
            if text:
                self._console.print(Text(prefix + text), soft_wrap=True)

    def _render(self) -> Group:
        width = self._console.width
        return Group(*(line.render(width) for line in self._lines if line.status.state is None))
