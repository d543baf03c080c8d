"""Processes held still by signals, so that the files they could write do not change underfoot."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

from overnight.domain.errors import SandboxUnavailableError

_SECONDS = 20.0
"""How long processes may take to stop; one that waits for a disk cannot at once."""


@contextlib.asynccontextmanager
async def held_still(processes: Callable[[], Iterable[int]]) -> AsyncGenerator[None]:
    """Stop what `processes` lists, again until nothing new appears and all stand, and let them go on after.

    Raises:
        SandboxUnavailableError: they do not stop.
    """
    handles: dict[int, int] = {}
    try:
        async with asyncio.timeout(_SECONDS):
            while _stop_new(processes(), handles) or not all(map(_stands, handles)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        yield
    except TimeoutError as error:
        raise SandboxUnavailableError("The sandbox's processes do not stand still", "Try again.") from error
    finally:
        for handle in handles.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGCONT)
            os.close(handle)


def _stop_new(processes: Iterable[int], handles: dict[int, int]) -> bool:
    """Stop those that have no handle yet; say whether there was one."""
    new = False
    for process in processes:
        if process not in handles:
            with contextlib.suppress(ProcessLookupError):
                handles[process] = os.pidfd_open(process)
                signal.pidfd_send_signal(handles[process], signal.SIGSTOP)
                new = True
    return new


def _stands(process: int) -> bool:
    """Say whether every thread of the process is stopped, or the process is gone."""
    try:
        threads = os.listdir(f"/proc/{process}/task")  # noqa: PTH208
    except OSError:
        return True
    for thread in threads:
        with contextlib.suppress(OSError, IndexError):
            # The name, in parentheses, may hold anything; the state follows the last one.
            state = Path(f"/proc/{process}/task/{thread}/stat").read_bytes().rpartition(b")")[2].split()[0]
            if state not in {b"T", b"t", b"Z", b"X"}:
                return False
    return True
