"""A program run by the Agent Client Protocol, from one prompt to its end, as if it were any command."""

import asyncio

import msgspec

from overnight.agents.interface import Assignment
from overnight.agents.programs.protocol import Lines, OnPlan, Talk
from overnight.agents.programs.start import start
from overnight.agents.programs.table import SESSION, Launch, Program
from overnight.domain.errors import OvernightError
from overnight.domain.events import LimitHit
from overnight.sandbox.interface import Command, CommandResult, OnOutput, Running, Stream

_NAME_BYTES = 500


async def converse(
    assignment: Assignment,
    program: Program,
    launch: Launch,
    prompt: str,
    on_output: OnOutput,
    on_plan: OnPlan,
    native: bool,
) -> "Dialogue":
    """Start a program and let it work on `prompt`; `native`: in the session that its home names.

    `on_output` is told what is not of the protocol.

    Raises:
        OvernightError: its settings cannot be written.
    """
    lines = Lines(assignment.limits.output_bytes)

    def output(stream: Stream, piece: bytes) -> None:
        lines.hear(stream, piece)
        if stream == "stderr":
            on_output(stream, piece)

    session = ""
    if native:
        told = await assignment.sandbox.run(Command(script=f'head -c {_NAME_BYTES} "$HOME"/{SESSION}'))
        session = told.stdout.decode("utf-8", "replace").strip()
    argv = (launch.argv[0], *program.protocol)
    running = await start(
        assignment.sandbox, program, msgspec.structs.replace(launch, argv=argv), None, output
    )
    lines.speak_to(running)
    return Dialogue(assignment, running, lines, Talk(lines, on_plan), prompt, session, native)


class Dialogue:
    """A program that is talked to; ends when its turn does."""

    def __init__(
        self,
        assignment: Assignment,
        running: Running,
        lines: Lines,
        talk: Talk,
        prompt: str,
        session: str,
        native: bool,
    ) -> None:
        self._assignment = assignment
        self._running = running
        self._lines = lines
        self._talk = talk
        self._result: CommandResult | None = None
        self._ending = asyncio.Lock()
        self._talking = asyncio.ensure_future(self._speak(prompt, session, native))
        self._exit = asyncio.ensure_future(self._watch())

    async def write(self, data: bytes) -> None:
        """Do nothing: its input is the protocol's."""
        del data

    async def wait(self) -> CommandResult:
        """Return how it ended."""
        problem = ""
        try:
            ended = await asyncio.shield(self._talking)
        except OvernightError as error:
            ended, problem = False, error.message
        return await self._end(0 if ended else 1, problem)

    async def stop(self, grace: float = 2.0) -> CommandResult:
        """Ask it to cancel its turn, then end it."""
        await self._talk.cancel()
        return await self._end(1, "stopped", grace)

    async def _speak(self, prompt: str, session: str, native: bool) -> bool:
        if native and not session:
            raise OvernightError("its home names no session")
        name = await self._talk.begin(session)
        if name != session:
            script = f'cat > "$HOME"/{SESSION}'
            await self._assignment.sandbox.run(Command(script=script, stdin=name[:_NAME_BYTES].encode()))
        return await self._talk.ask(prompt)

    async def _watch(self) -> None:
        """Tell the protocol when the program has ended without a word."""
        await self._running.wait()
        self._lines.end()

    async def _end(self, code: int, problem: str, grace: float = 2.0) -> CommandResult:
        async with self._ending:
            if self._result is None:
                result = await self._running.stop(grace)
                await self._talk.close()
                for task in (self._talking, self._exit):
                    task.cancel()
                await asyncio.gather(self._talking, self._exit, return_exceptions=True)
                if self._lines.full:
                    bound = self._assignment.limits.output_bytes
                    detail = f"the program said more than {bound} bytes"
                    self._assignment.events.emit(LimitHit(limit="output_bytes", detail=detail))
                printed = result.stderr or problem.encode()
                self._result = msgspec.structs.replace(result, exit_code=code, stdout=b"", stderr=printed)
            return self._result
