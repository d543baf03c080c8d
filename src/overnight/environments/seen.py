"""What is known of a workspace's files since they were last read, so that they need not be read again."""

import os
import time

import msgspec

RECENT_NS = 2_000_000_000
"""A file as young as this may be written again within the same tick of its file system's clock."""
MAX_FILES = 200_000
"""What is remembered at once; beyond that everything is read again."""

Signature = tuple[int, int, int, int, int]


class _Known(msgspec.Struct):
    signature: Signature
    is_base: bool | None = None
    digest: str = ""


class Seen:
    """Files by path with the state in which they were read.

    No program can set a file's change time, so an equal state means equal content, once it is old enough.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def is_base(self, path: str, state: os.stat_result) -> bool | None:
        """Say whether the file, in this state, equals the base's; None where that is not known."""
        known = self._find(path, state)
        return None if known is None else known.is_base

    def digest(self, path: str, state: os.stat_result) -> str:
        """Return the digest of the file's content in this state; empty where it is not known."""
        known = self._find(path, state)
        return "" if known is None else known.digest

    def compared(self, path: str, state: os.stat_result, is_base: bool) -> None:
        """Remember how a file compares with the base's."""
        known = self._entry(path, state)
        if known is not None:
            known.is_base = is_base

    def kept(self, path: str, state: os.stat_result, digest: str) -> None:
        """Remember a file's content. `state` was taken before the content was read."""
        known = self._entry(path, state)
        if known is not None:
            known.digest = digest

    def forget(self) -> None:
        """Forget everything."""
        self._known.clear()

    def _find(self, path: str, state: os.stat_result) -> _Known | None:
        known = self._known.get(path)
        return known if known is not None and known.signature == _signature(state) else None

    def _entry(self, path: str, state: os.stat_result) -> _Known | None:
        """Return the entry to fill in; None for a file too young for its state to say anything."""
        # A time to come counts as young too: the clock was set back.
        if max(state.st_ctime_ns, state.st_mtime_ns) > time.time_ns() - RECENT_NS:
            self._known.pop(path, None)
            return None
        signature = _signature(state)
        known = self._known.get(path)
        if known is None or known.signature != signature:
            if len(self._known) >= MAX_FILES:
                self.forget()
            known = self._known[path] = _Known(signature)
        return known


def _signature(state: os.stat_result) -> Signature:
    return (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino, state.st_mode)
