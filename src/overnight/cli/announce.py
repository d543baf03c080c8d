"""The end of a run, announced: terminal bell, desktop notification, a command of the user's."""

import asyncio
import shutil
import sys
from collections.abc import Mapping

from overnight.cli.text import one_line
from overnight.domain.task import PullRequest, Task

NOTIFY_SECONDS = 30.0
"""What a notification may take before it is left behind."""


async def announce(title: str, text: str, command: str | None, variables: Mapping[str, str]) -> str:
    """Tell the person that the run ended; returns a line about what went wrong with it, or "".

    `command` runs by `sh -c` with `variables` in its environment: values, never part of its text.
    """
    if sys.stderr.isatty():
        sys.stderr.write("\a")
        sys.stderr.flush()
    desktop = shutil.which("notify-send")
    if desktop is not None and ("DISPLAY" in variables or "WAYLAND_DISPLAY" in variables):
        await _spawn([desktop, "--app-name=Overnight", "--", title, text], variables)
    if not command:
        return ""
    code = await _spawn(["/bin/sh", "-c", command], variables)
    return "" if code == 0 else f"--notify-command ended with exit code {code}"


def notify_variables(
    environment: Mapping[str, str], task: Task, pull_request: PullRequest | None, code: int
) -> dict[str, str]:
    """Return the environment of a notification: the person's own, and what came of the task."""
    return {
        **environment,
        "OVERNIGHT_TASK": task.id,
        "OVERNIGHT_TITLE": one_line(task.title),
        "OVERNIGHT_STATE": task.state,
        "OVERNIGHT_EXIT_CODE": str(code),
        "OVERNIGHT_PULL_REQUEST": str(pull_request.number) if pull_request else "",
    }


async def _spawn(argv: list[str], variables: Mapping[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr, env=dict(variables)
    )
    try:
        async with asyncio.timeout(NOTIFY_SECONDS):
            return await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -9
