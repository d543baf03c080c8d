"""Output of processes that outlived their command: read so that they can go on writing, and thrown away."""

import asyncio
import os

_CHUNK = 64 * 1024
_ENOUGH = 256 * 1024**2
"""Bytes of one stream after which we stop reading; the writer then waits, which is its own affair."""


class Leftovers:
    """The streams of one sandbox that nobody listens to any more."""

    def __init__(self) -> None:
        self._read: dict[int, int] = {}
        self._full: list[int] = []

    def take(self, streams: list[int]) -> None:
        """Read these descriptors to their end and close them."""
        loop = asyncio.get_running_loop()
        for stream in streams:
            self._read[stream] = 0
            loop.add_reader(stream, self._on_data, stream)

    def _on_data(self, stream: int) -> None:
        try:
            data = os.read(stream, _CHUNK)
        except BlockingIOError:
            return
        self._read[stream] += len(data)
        if data and self._read[stream] < _ENOUGH:
            return
        asyncio.get_running_loop().remove_reader(stream)
        del self._read[stream]
        if data:
            self._full.append(stream)
        else:
            os.close(stream)

    async def close(self) -> None:
        """Close all of them."""
        loop = asyncio.get_running_loop()
        for stream in self._read:
            loop.remove_reader(stream)
        for stream in (*self._read, *self._full):
            os.close(stream)
        self._read.clear()
        self._full.clear()
