"""An agent that does what it is told in words, one step a word, and a place for it to work: no model."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from overnight.agents.interface import NOTHING, Agent, Assignment, Outcome
from overnight.agents.record import StepRecorder, messages_so_far
from overnight.cli.wire import Application, read_settings
from overnight.domain.commands import Command
from overnight.domain.conversation import Message
from overnight.domain.events import Event, MessageAdded, StepEnded
from overnight.domain.task import Attempt, Task, Usage
from overnight.store import attempts, commands
from overnight.tasks.submit import Submission, submit
from overnight.tasks.views import TaskView, view
from tests.house import House

Hook = Callable[[Assignment], Awaitable[None]]


async def nothing(assignment: Assignment) -> None:
    """Do nothing."""
    del assignment


class Listener:
    """Writes each word that it is told into `said.txt`, in a step of its own, and obeys some of them.

    `ask …` asks the rest, `limit` reaches the limit `steps`, `wait` works until somebody says something,
    `put PATH TEXT` writes a file.
    """

    equipment = NOTHING

    def __init__(self, name: str = "listener") -> None:
        self.name = name
        self.seen: list[list[str]] = []
        """The conversations that it began with, as texts."""
        self.steps_left: list[int] = []
        self.in_step: Hook = nothing
        """Called in every step, after the word was taken in and before the step ends."""
        self.handing_back: Hook = nothing

    async def work(self, assignment: Assignment) -> Outcome:
        """Take in words until none is left."""
        recorder = StepRecorder(assignment)
        self.seen.append([message.text for message in messages_so_far(assignment.history)])
        self.steps_left.append(assignment.limits.steps - (recorder.step - assignment.spent.steps))
        words: list[tuple[str, str]] = [] if self.seen[-1] else [(assignment.prompt, "")]
        while True:
            words += [(word.text, word.id) for word in await assignment.inbox.arrived()]
            if not words:
                await self.handing_back(assignment)
                return Outcome(summary=f"Heard {recorder.step}.", usage=Usage(model_calls=recorder.step))
            text, command_id = words.pop(0)
            await self._take_in(assignment, recorder, text, command_id)
            verb, _, rest = text.partition(" ")
            if verb == "ask":
                return Outcome(summary="", question=rest, choices=("red", "green"))
            if verb == "limit":
                return Outcome(summary="", reached="steps")
            while verb == "wait" and not words:
                await asyncio.sleep(0.01)
                words += [(word.text, word.id) for word in await assignment.inbox.arrived()]

    async def _take_in(
        self, assignment: Assignment, recorder: StepRecorder, text: str, command_id: str
    ) -> None:
        step = recorder.begin(text)
        message = Message(role="user", text=text)
        assignment.events.emit(MessageAdded(step=step, message=message, command_id=command_id))
        before = assignment.workspace.read("said.txt") or b""
        assignment.workspace.write("said.txt", before + text.partition("\n")[0].encode() + b"\n")
        if text.startswith("put "):
            _, path, content = text.partition("\n")[0].split(" ", 2)
            assignment.workspace.write(path, content.encode() + b"\n")
        await self.in_step(assignment)
        await recorder.end()


class Place:
    """A data directory with agents of one's own, and a repository."""

    def __init__(self, application: Application, repository: Path, model: str) -> None:
        self.application = application
        self.repository = repository
        self.model = model

    @property
    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self.application.clock.time()

    async def submit(
        self, prompt: str, verify: bool = False, agent: str = "listener"
    ) -> tuple[Task, Attempt]:
        """Submit a task with one attempt; nobody works on it yet."""
        admission = await self.application.repositories.admit(str(self.repository), None, self.repository)
        task, (attempt,) = await submit(
            self.application.database,
            Submission(
                repository_id=admission.repository.id,
                prompt=prompt,
                base_ref=admission.base_ref,
                base_commit=admission.base_commit,
                attempts=((agent, self.model),),
                checks=("grep -q told said.txt",),
                verify=verify,
                sandbox="none",
            ),
            self.application.clock,
        )
        return task, attempt

    async def run(self, task: Task) -> TaskView:
        """Carry the task out as far as it goes."""
        async with asyncio.timeout(180):
            await self.application.work.worker().run_task(task.id)
        return await view(self.application.database, task.id)

    async def attempt(self, attempt_id: str) -> Attempt:
        """Return the attempt as it stands."""
        return await self.application.database.read(lambda conn: attempts.get(conn, attempt_id))

    async def said(self, attempt_id: str) -> tuple[Command, ...]:
        """Return all that was said to it."""
        return await self.application.database.read(lambda conn: commands.of_attempt(conn, attempt_id))

    async def log(self, attempt_id: str) -> list[Event]:
        """Return the attempt's own events."""
        return [item.event async for item in self.application.log.read(attempt_id)]

    async def steps(self, attempt_id: str) -> list[int]:
        """Return the steps that the attempt itself finished."""
        return [event.step for event in await self.log(attempt_id) if isinstance(event, StepEnded)]

    async def patched(self, attempt_id: str, path: str) -> str:
        """Return a file as the attempt's branch has it."""
        from overnight.git.objects import read_file

        attempt = await self.attempt(attempt_id)
        assert attempt.patch is not None
        task = await self.application.database.read(lambda conn: _task(conn, attempt.task_id))
        mirror = await self.application.repositories.mirror_of(task)
        stands = await mirror.branch_commit(attempt.patch.branch)
        assert stands is not None
        assert stands == attempt.patch.commit
        return ((await read_file(mirror, stands, path)) or b"").decode()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Return once the condition holds."""
        async with asyncio.timeout(180):
            while not await condition():  # noqa: ASYNC110 — the store tells nobody of another's writes
                await asyncio.sleep(0.01)


def _task(connection: Connection, task_id: str) -> Task:
    from overnight.store import tasks

    return tasks.get(connection, task_id)


@asynccontextmanager
async def place(
    house: House, repository: Path, monkeypatch: pytest.MonkeyPatch, agents: Mapping[str, Agent]
) -> AsyncGenerator[Place]:
    """Open a place where those agents work."""
    application = await Application.open(read_settings(house.environment))
    monkeypatch.setattr(application.agents, "known", lambda: agents)
    try:
        yield Place(application, repository, house.script([{"text": "Unused."}]))
    finally:
        await application.close()
