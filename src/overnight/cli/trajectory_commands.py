"""What `overnight task export` and `overnight task replay` do."""

from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console

from overnight import __version__
from overnight.cli.submission import see_through
from overnight.cli.text import one_line
from overnight.cli.wire import Application, opened
from overnight.domain.errors import ExitCode, OvernightError, UsageError
from overnight.domain.ids import short
from overnight.domain.task import Attempt, Task
from overnight.events.atif import atif, images
from overnight.events.mini_swe_agent import mini_swe_agent
from overnight.tasks.recordings import REPLAY
from overnight.tasks.retry import replaying
from overnight.tasks.submit import submit
from overnight.tasks.views import find

FORMATS = ("atif", "mini-swe-agent", "recording")


async def export(identifier: str, form: str, output: Path | None) -> None:
    """Write one attempt in one of the `FORMATS`."""
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}", f"Formats: {', '.join(FORMATS)}")
    async with opened() as application:
        task, attempt = await _one(application, identifier)
        data = msgspec.json.format(msgspec.json.encode(await _in_form(application, task, attempt, form)))
        if output is None:
            typer.get_binary_stream("stdout").write(data + b"\n")
            return
        _write(output, data + b"\n")
        if form == "atif":
            await _write_images(application, attempt, output.parent)


async def replay(identifier: str, json_output: bool) -> int:
    """Carry one attempt out again from its recording, in this process."""
    console = Console(stderr=True, highlight=False)
    async with opened() as application:
        task, attempt = await _one(application, identifier)
        await application.recordings.of(attempt)  # told before anything starts
        await application.sandboxes.open_for(task.sandbox, task.network)
        submission = replaying(task, attempt, f"{REPLAY}{attempt.id}")
        again, attempts = await submit(application.database, submission, application.clock)
        console.print(f"Task {short(again.id)}: {one_line(again.title)}", markup=False, soft_wrap=True)
        await see_through(application, again, attempts, console, json_output=json_output)
        shown, _ = await find(application.database, again.id)
        before, after = (_patch(application, one) for one in (attempt, shown.attempts[0]))
    if before == after:
        console.print(f"The patch is byte-identical to that of {short(attempt.id)}.", markup=False)
        return int(ExitCode.DONE)
    console.print(f"The patch differs from that of {short(attempt.id)}.", markup=False)
    return int(ExitCode.FAILURE)


async def _one(application: Application, identifier: str) -> tuple[Task, Attempt]:
    """Return the attempt meant: the one named, else the picked one, else the only one."""
    shown, attempt = await find(application.database, identifier)
    if attempt is None:
        picked = [one for one in shown.attempts if one.id == shown.task.picked]
        chosen = picked or shown.attempts
        if len(chosen) != 1:
            raise UsageError(f"The task {identifier} has several attempts", "Name one: overnight task view")
        attempt = chosen[0]
    return shown.task, attempt


async def _in_form(application: Application, task: Task, attempt: Attempt, form: str) -> Any:
    if form == "recording":
        return await application.recordings.of(attempt)
    events = [item async for item in application.log.read(attempt.id)]
    if form == "atif":
        return atif(task, attempt, events, __version__)
    diff = _patch(application, attempt).decode("utf-8", "replace")
    return mini_swe_agent(attempt, events, diff, __version__)


async def _write_images(application: Application, attempt: Attempt, folder: Path) -> None:
    events = [item async for item in application.log.read(attempt.id)]
    for path, digest in images(events).items():
        try:
            content = application.blobs.get(digest)
        except OvernightError as error:
            typer.echo(f"{path} is left out: {error.message}", err=True)
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        _write(folder / path, content)


def _patch(application: Application, attempt: Attempt) -> bytes:
    return application.blobs.get(attempt.patch.digest) if attempt.patch is not None else b""


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
