"""A lock between processes, on a file; it goes with its holder, however that one ends."""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

_POLL = 0.02


@asynccontextmanager
async def locked(path: Path) -> AsyncGenerator[None]:
    """Hold the exclusive lock on `path`; wait for it without blocking the event loop."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # flock has no asynchronous form, and a thread waiting in it could not be canceled.
                await asyncio.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)
