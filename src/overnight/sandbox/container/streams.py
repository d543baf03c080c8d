"""The standard streams of a command in a container, as named pipes that both sides open."""

import os
from pathlib import Path

from overnight.sandbox.interface import OnOutput
from overnight.sandbox.pipes import Pipes


def make_named_pipe(path: Path, owner: tuple[int, int] | None) -> tuple[int, int]:
    """Make a pipe at `path` for `owner` alone, and return its ends; the reading one does not block."""
    reading = make_reading_end(path, owner)
    return reading, os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def make_reading_end(path: Path, owner: tuple[int, int] | None) -> int:
    """Make a pipe that comes to its end only when a first writer, the other side, has closed it."""
    os.mkfifo(path, 0o600)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if owner is not None:
        os.fchown(reading, *owner)
    return reading


class NamedPipes(Pipes):
    """Like `Pipes`, in a folder that the container sees.

    Our own writing ends stay open until the command ended, so that the streams have no end before.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        stdin: bytes,
        owner: tuple[int, int] | None,
        limit: int,
        on_output: OnOutput | None,
        *,
        open_input: bool,
        bytes_per_second: int | None = None,
    ) -> None:
        self._folder = folder
        self._number = number
        self._owner = owner
        super().__init__(
            stdin, owner, limit, on_output, open_input=open_input, bytes_per_second=bytes_per_second
        )

    def make_pipe(self, name: str) -> tuple[int, int]:
        """Return the ends of a new named pipe; see `Pipes.make_pipe`."""
        return make_named_pipe(self._folder / f"{self._number}.{name}", self._owner)

    def make_input(self, content: bytes, owner: tuple[int, int] | None) -> int:
        """Write `content` where the command will read it."""
        write_for(self._folder / f"{self._number}.in", content, owner)
        return os.open(os.devnull, os.O_RDONLY)


def write_for(path: Path, content: bytes, owner: tuple[int, int] | None) -> None:
    """Write a file that only `owner`, or the caller, can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        if owner is not None:
            os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)
