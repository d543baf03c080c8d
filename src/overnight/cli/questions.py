"""What attempts ask, asked on the terminal that a run was started from."""

import asyncio
import sys

from rich.console import Console

from overnight.cli.text import one_line, plain
from overnight.cli.wire import Application
from overnight.domain.errors import ConflictError
from overnight.domain.events import AttemptWaiting
from overnight.domain.ids import short
from overnight.domain.task import Task
from overnight.tasks.views import view
from overnight.tasks.words import answer


async def answer_questions(application: Application, task: Task, console: Console) -> bool:
    """Ask the person what the task's attempts ask; return whether one was answered.

    An empty line leaves a question open: `overnight task answer` answers it later.
    """
    if not (sys.stdin.isatty() and console.is_terminal):
        return False
    answered = False
    for attempt in (await view(application.database, task.id)).attempts:
        if attempt.state != "needs_input":
            continue
        last = await application.log.last(attempt.id)
        question = attempt.message
        choices: tuple[str, ...] = ()
        if last is not None and isinstance(last.event, AttemptWaiting):
            question, choices = last.event.question, last.event.choices
        console.print(f"attempt {attempt.number} asks: {plain(question)}", markup=False, soft_wrap=True)
        for number, choice in enumerate(choices, 1):
            console.print(f"  {number}. {one_line(choice, 200)}", markup=False, soft_wrap=True)
        console.print("Answer (empty: later): ", markup=False, end="")
        words = (await _line()).strip()
        if words.isdecimal() and 1 <= int(words) <= len(choices):
            words = choices[int(words) - 1]
        if not words:
            continue
        try:
            await answer(application.database, attempt.id, words, application.clock.time())
        except ConflictError:
            console.print(f"Attempt {short(attempt.id)} was answered elsewhere.", markup=False)
        answered = True
    return answered


async def _line() -> str:
    """Read a line from the terminal; unlike a plain read, Ctrl-C ends this at once."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(sys.stdin.fileno(), ready)
    try:
        await readable
        return sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin.fileno())
