"""The standard streams of a command: read as they come, kept within bounds, shown live."""

import asyncio
import os
from types import TracebackType
from typing import Self

from overnight.sandbox.interface import OnOutput, Stream
from overnight.sandbox.output import FLOOD, Kept

_CHUNK = 256 * 1024


def memory_file(content: bytes, owner: tuple[int, int] | None = None) -> int:
    """Return a descriptor of an anonymous file that holds `content`, at its beginning."""
    descriptor = os.memfd_create("overnight")
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    if owner is not None:
        os.fchown(descriptor, *owner)
    return descriptor


class Pipes:
    """Standard input as a file, standard output and error as pipes, for one command.

    Args:
        stdin: what the command reads; it sees the end of file after it.
        owner: who the command is, if not the caller: opening `/dev/stderr` opens the pipe anew, which
            only its owner may.
        limit: bytes that are kept of both streams together.
        on_output: gets what comes, up to `limit` bytes.
        open_input: leave standard input open for `write` after `stdin`.
        bytes_per_second: a command that writes faster has to wait; None lets it.
        patience: seconds from now for which output lies unread, unless `read_now` takes it: a command that
            ends sooner costs nobody the waiting for it.
    """

    def __init__(
        self,
        stdin: bytes,
        owner: tuple[int, int] | None,
        limit: int,
        on_output: OnOutput | None,
        *,
        open_input: bool = False,
        bytes_per_second: int | None = None,
        patience: float = 0.0,
    ) -> None:
        self.stdout = Kept(limit // 2)
        self.stderr = Kept(limit // 2)
        self._limit = limit
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        self._input: int | None = None
        self._unwritten = bytearray()
        self._written = asyncio.Event()
        if open_input:
            self.stdin_end, self._input = self.make_pipe("in")
            os.set_blocking(self._input, False)
            self._queue(stdin)
        else:
            self.stdin_end = self.make_input(stdin, owner)
        self._stdout, self.stdout_end = self.make_pipe("out")
        self._stderr, self.stderr_end = self.make_pipe("err")
        self._reading: dict[int, tuple[Stream, Kept]] = {
            self._stdout: ("stdout", self.stdout),
            self._stderr: ("stderr", self.stderr),
        }
        self._child_ends = [self.stdin_end, self.stdout_end, self.stderr_end]
        self._all_read = asyncio.Event()
        self._rate = bytes_per_second
        self._second = 0.0
        self._in_second = 0
        self._waiting: asyncio.TimerHandle | None = None
        self.slowed = 0.0
        """Seconds for which the command had to wait because it wrote too fast."""
        for descriptor in (self._stdout, self._stderr):
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.set_blocking(descriptor, False)
        if patience:
            self._waiting = self._loop.call_later(patience, self._go_on)
        else:
            self._go_on()

    def make_pipe(self, name: str) -> tuple[int, int]:
        """Return the reading and the writing end of a new pipe for the stream `in`, `out` or `err`."""
        return os.pipe2(os.O_CLOEXEC)

    def make_input(self, content: bytes, owner: tuple[int, int] | None) -> int:
        """Return a descriptor from which the command reads `content` and then the end of file."""
        return memory_file(content, owner) if content else os.open(os.devnull, os.O_RDONLY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_child_ends()
        self._close_input()
        if self._waiting is not None:
            self._waiting.cancel()
        for descriptor in list(self._reading):
            self._close(descriptor)

    def close_child_ends(self) -> None:
        """Close the ends that the command has by now."""
        while self._child_ends:
            os.close(self._child_ends.pop())

    async def write(self, data: bytes) -> None:
        """Put bytes into the standard input that was left open; return when they are in the pipe."""
        self._queue(data)
        await self._written.wait()

    def _queue(self, data: bytes) -> None:
        if self._input is not None and data:
            self._unwritten += data
            self._written.clear()
            self._loop.add_writer(self._input, self._flush)
        elif not self._unwritten:
            self._written.set()

    def _flush(self) -> None:
        assert self._input is not None
        try:
            del self._unwritten[: os.write(self._input, self._unwritten[:65536])]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            self._close_input()
            return
        if not self._unwritten:
            self._loop.remove_writer(self._input)
            self._written.set()

    def _close_input(self) -> None:
        if self._input is not None:
            self._loop.remove_writer(self._input)
            os.close(self._input)
            self._input = None
        self._unwritten.clear()
        self._written.set()

    @property
    def total(self) -> int:
        """Bytes written so far."""
        return self.stdout.total + self.stderr.total

    @property
    def flooded(self) -> bool:
        """Whether the command wrote so much that it has to be stopped."""
        return self.total > FLOOD * self._limit

    @property
    def detail(self) -> str:
        """A sentence about output that was left out; empty if all was kept."""
        missing = self.stdout.missing + self.stderr.missing
        return f"{missing} bytes of output were left out." if missing else ""

    async def drained(self) -> None:
        """Return when both streams came to their end; to be called when no writer is left."""
        await self._all_read.wait()

    @property
    def ended(self) -> bool:
        """Whether both streams came to their end."""
        return not self._reading

    def read_now(self) -> None:
        """Read what is there already, such as what a process wrote before it ended."""
        for descriptor in list(self._reading):
            while descriptor in self._reading and self._read(descriptor) and not self.flooded:
                pass

    def hand_over(self) -> list[int]:
        """Stop reading and return the streams that somebody still writes to, now the caller's to close."""
        left = list(self._reading)
        for descriptor in left:
            self._loop.remove_reader(descriptor)
        self._reading.clear()
        self._all_read.set()
        return left

    def _slow_down(self, count: int, rate: int) -> None:
        """Stop reading until the second is over in which `rate` bytes came: the writer waits meanwhile."""
        now = self._loop.time()
        if now - self._second >= 1.0:
            self._second, self._in_second = now, 0
        self._in_second += count
        if self._in_second >= rate and self._waiting is None:
            for descriptor in self._reading:
                self._loop.remove_reader(descriptor)
            wait = max(0.0, self._second + 1.0 - now)
            self.slowed += wait
            self._waiting = self._loop.call_later(wait, self._go_on)

    def _go_on(self) -> None:
        self._waiting = None
        for descriptor in self._reading:
            self._loop.add_reader(descriptor, self._read, descriptor)

    def _close(self, descriptor: int) -> None:
        if self._waiting is None:  # else it is not waited for
            self._loop.remove_reader(descriptor)
        os.close(descriptor)
        del self._reading[descriptor]
        if not self._reading:
            self._all_read.set()

    def _read(self, descriptor: int) -> bool:
        """Take what is there, and say whether something was."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close(descriptor)
            return False
        if self._rate is not None:
            self._slow_down(len(data), self._rate)
        stream, kept = self._reading[descriptor]
        before = self.total
        kept.add(data)
        if self._on_output is not None and before < self._limit:
            self._on_output(stream, data[: self._limit - before])
        return True
