"""What is kept of a command's output: the beginning and the end, bounded whatever is written."""

from collections import deque

FLOOD = 64
"""A command that writes this many times what may be kept is stopped."""


class Kept:
    """Keeps the first and the last bytes of one stream, `limit` in all."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            self._tail_bytes -= len(self._tail.popleft())

    @property
    def missing(self) -> int:
        """Bytes that were written and not kept."""
        return max(0, self.total - self._head_limit - self._tail_limit)

    def value(self) -> bytes:
        """Return what was kept, with a line in the middle that says how much is missing."""
        tail = b"".join(self._tail)
        if not self.missing:
            return bytes(self._head) + tail
        note = b"\n[... %d bytes left out ...]\n" % self.missing
        room = max(0, self._tail_limit - len(note))
        return bytes(self._head) + note + (tail[-room:] if room else b"")
