"""The embedded model on its way to the disk, as a progress bar."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as Speed

WORDS = {
    "fetching": "fetching the model",
    "checking": "checking its SHA-256",
    "waiting": "another process fetches the model",
}
LINE_EVERY = 0.05
"""Without a terminal: one line for each twentieth."""


class DownloadBar:
    """Draws progress on a terminal, or prints a line now and then where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._line = ("", -1)

    def update(self, phase: str, done: int, total: int, line: str) -> None:
        """Show `done` of `total` bytes; `line` says the same in words."""
        if not self._console.is_terminal:
            step = int(done / max(1, total) / LINE_EVERY)
            if (phase, step) != self._line:
                self._line = (phase, step)
                self._console.print(line, markup=False)
            return
        if self._progress is None:
            words = TextColumn("{task.description}")
            columns = (words, BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=self._console)
            self._task = self._progress.add_task("", total=total)
            self._progress.start()
        assert self._task is not None
        self._progress.update(self._task, description=WORDS.get(phase, phase), completed=done)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()
