"""Attempts as they happen: printed lines that stay, and one status line for each that is redrawn."""

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from overnight.cli.lines import brief
from overnight.cli.text import one_line
from overnight.cli.units import show_seconds
from overnight.domain.events import (
    AttemptEnded,
    CommandEnded,
    CommandStarted,
    Event,
    FileChanged,
    ModelWaiting,
    PhaseChanged,
    StepStarted,
    UsageUpdated,
)
from overnight.domain.task import Attempt, Usage
from overnight.events.log import EventLog

REFRESH_PER_SECOND = 4
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Status:
    """The status line of one attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self.number = attempt.number
        self.phase = "queued"
        self.doing = ""
        self.step = 0
        self.files: dict[str, None] = {}
        self.usage = Usage()
        self.last = time.monotonic()
        self.ended = False

    def take(self, event: Event) -> None:
        """Fold one event in."""
        self.last = time.monotonic()
        match event:
            case PhaseChanged():
                self.phase, self.doing = event.phase, event.detail
            case StepStarted():
                self.step, self.doing = event.step, event.title
            case CommandStarted():
                self.doing = f"$ {event.command}"
            case CommandEnded():
                self.doing = ""
            case ModelWaiting():
                self.doing = event.reason
            case FileChanged():
                self.files[event.path] = None
            case UsageUpdated():
                self.usage = event.usage
            case AttemptEnded():
                self.ended = True
            case _:
                pass

    def render(self, width: int) -> Text:
        """Return the line; `width` columns are there."""
        silence = time.monotonic() - self.last
        parts = [f"attempt {self.number}", self.phase]
        if self.step:
            parts.append(f"step {self.step}")
        tokens = self.usage.input_tokens + self.usage.output_tokens
        if tokens:
            parts.append(f"{tokens / 1000:.1f}k tokens")
        if self.files:
            parts.append(", ".join(one_line(path, 40) for path in list(self.files)[-3:]))
        parts.append(f"{show_seconds(silence)} ago")
        if self.doing:
            parts.append(one_line(self.doing, 80))
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
        self._statuses = [Status(attempt) for attempt in attempts]
        self._many = len(attempts) > 1

    async def follow(self, after: dict[str, int] | None = None) -> None:
        """Show events until every attempt has ended; `after` is the `seq` per attempt to start behind."""
        after = after or {}
        followers = [
            self._follow(attempt, status, after.get(attempt.id, 0))
            for attempt, status in zip(self._attempts, self._statuses, strict=True)
        ]
        if not self._console.is_terminal:
            await asyncio.gather(*followers)
            return
        with Live(console=self._console, get_renderable=self._render, refresh_per_second=REFRESH_PER_SECOND):
            await asyncio.gather(*followers)

    async def _follow(self, attempt: Attempt, status: Status, after: int) -> None:
        prefix = f"[{attempt.number}] " if self._many else ""
        async for recorded in self._log.follow(attempt.id, after=after):
            status.take(recorded.event)
            line = brief(recorded.event)
            if line:
                self._console.print(Text(prefix + line), soft_wrap=True)

    def _render(self) -> Group:
        width = self._console.width
        return Group(*(status.render(width) for status in self._statuses if not status.ended))
