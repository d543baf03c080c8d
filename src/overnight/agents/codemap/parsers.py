"""Parsing source files in processes apart; see `child`."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from overnight.agents.codemap.child import Answer, Request, receive, send
from overnight.agents.codemap.languages import LANGUAGES
from overnight.agents.codemap.tags import Tags, cut
from overnight.domain.errors import OvernightError

MAX_PROCESSES: Final = 4
BATCH_BYTES: Final = 256 * 1024
BATCH_FILES: Final = 100
ANSWER_SECONDS: Final = 120.0
"""Wall time for one batch, for a process that neither works nor ends."""

_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv.pop(1).split(chr(10)); "
    "from overnight.agents.codemap.child import main; main()"
)


class Source(msgspec.Struct, frozen=True):
    """A file to parse."""

    language: str
    content: bytes


class ParserError(Exception):
    """The process ended or answered nonsense; the message says how, in words for `Tags.skipped`."""


class ParserProcess:
    """One child that parses. Not for several threads at once."""

    def __init__(self, languages: Sequence[str]) -> None:
        path = "\n".join(entry for entry in sys.path if entry.startswith("/"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, path, *languages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        self._decoder = msgspec.msgpack.Decoder(list[Answer])
        self._seconds = 0.0

    def positions(self, language: str, seconds: float, contents: list[bytes]) -> list[Answer]:
        """Return the positions in each file.

        Raises:
            ParserError: it ended, took too long, or answered what no parser of ours would.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._seconds = seconds
        watch = threading.Timer(ANSWER_SECONDS, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            send(self._process.stdin.fileno(), msgspec.msgpack.encode(Request(language, seconds, contents)))
            answers = self._decoder.decode(receive(self._process.stdout.fileno()))
        except (OSError, ValueError, msgspec.DecodeError):
            raise ParserError(self._why()) from None
        finally:
            watch.cancel()
        if len(answers) != len(contents):
            raise ParserError("the parser answered nonsense")
        return answers

    def _why(self) -> str:
        self._process.kill()
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return f"map_parse_seconds={self._seconds:g}"
        return "the parser broke down" if code in (0, 1) else f"the parser broke down ({code})"

    def close(self) -> None:
        """End it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()


class Parsers:
    """Parsers that are started when they are needed and ended by `close`. For one thread at a time."""

    def __init__(self, seconds: float, processes: int = 0) -> None:
        self._seconds = seconds
        self._count = processes or min(MAX_PROCESSES, len(os.sched_getaffinity(0)))
        self._idle: list[ParserProcess] = []
        self._languages: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def parse(self, sources: Sequence[Source]) -> list[Tags]:
        """Return the tags of each file.

        Raises:
            OvernightError: no process that parses can be started on this machine.
        """
        wanted = tuple(name for name in LANGUAGES if any(s.language == name for s in sources))
        if not set(wanted) <= set(self._languages):
            self.close()
            self._languages = wanted
        found: list[Tags | None] = [None] * len(sources)
        batches = _batches(sources)

        def work(batch: list[int]) -> None:
            tags = self._batch([sources[index] for index in batch])
            for index, one in zip(batch, tags, strict=True):
                found[index] = one

        if len(batches) == 1:
            work(batches[0])
        else:
            with ThreadPoolExecutor(min(self._count, len(batches) or 1)) as pool:
                list(pool.map(work, batches))
        return [one if one is not None else Tags(skipped="not parsed") for one in found]

    def _batch(self, batch: list[Source]) -> list[Tags]:
        try:
            return self._together(batch)
        except ParserError as error:
            if len(batch) == 1:
                self._check()
                return [Tags(skipped=str(error))]
        # One of them ends the process: each alone, then the others are not lost.
        return [tags for source in batch for tags in self._batch([source])]

    def _together(self, batch: list[Source]) -> list[Tags]:
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or ParserProcess(self._languages)
        contents = [source.content for source in batch]
        try:
            answers = process.positions(batch[0].language, self._seconds, contents)
            tags = [cut(content, *answer) for content, answer in zip(contents, answers, strict=True)]
        except BaseException:
            process.close()
            raise
        if None in tags:
            process.close()
            raise ParserError("the parser answered nonsense")
        with self._lock:
            self._idle.append(process)
        return [one for one in tags if one is not None]

    def _check(self) -> None:
        """Raise unless a fresh process parses an empty file: else it is the machine, not the file."""
        process = ParserProcess(self._languages)
        try:
            process.positions(self._languages[0], self._seconds, [b""])
        except ParserError as error:
            raise OvernightError(
                f"The code map cannot parse on this machine: {error}",
                "It needs the kernel's system-call filters (seccomp), on x86-64 or arm64.",
            ) from None
        finally:
            process.close()

    def close(self) -> None:
        """End every process."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()


def _batches(sources: Sequence[Source]) -> list[list[int]]:
    """Return the indexes of the files, grouped: one language each, not too much at once."""
    batches: list[list[int]] = []
    for name in LANGUAGES:
        size = 0
        batch: list[int] = []
        for index, source in enumerate(sources):
            if source.language != name:
                continue
            if batch and (size + len(source.content) > BATCH_BYTES or len(batch) >= BATCH_FILES):
                batches.append(batch)
                batch, size = [], 0
            batch.append(index)
            size += len(source.content)
        if batch:
            batches.append(batch)
    return batches
