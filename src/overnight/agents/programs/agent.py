"""An agent that is a program of others: one process in the sandbox, whose every request is a step."""

import asyncio

import msgspec

from overnight.agents.interface import Assignment, Equipment, Outcome
from overnight.agents.loop import DONE
from overnight.agents.programs.conversation import HANDOVER
from overnight.agents.programs.dialogue import converse
from overnight.agents.programs.exchanges import Exchanges
from overnight.agents.programs.home import Home
from overnight.agents.programs.install import Installer
from overnight.agents.programs.protocol import check
from overnight.agents.programs.start import start, tail
from overnight.agents.programs.table import INSTALLED, Launch, Program, Wiring
from overnight.agents.record import last_step, messages_so_far
from overnight.domain.commands import Arrival
from overnight.domain.errors import OvernightError
from overnight.domain.events import (
    CommandEnded,
    CommandOutput,
    CommandStarted,
    PlanStep,
    PlanUpdated,
    SessionResumed,
)
from overnight.models.gateway.door import URL, Door
from overnight.sandbox.interface import Bind, CommandResult, Running, Stream

GO_ON = "Go on from where you stopped."
"""What a program is told that takes its session up where nobody said anything."""


class ProgramAgent:
    """Runs one program of the table to its end."""

    def __init__(self, program: Program, installer: Installer) -> None:
        self.name = program.name
        self.program = program
        self._installer = installer

    @property
    def equipment(self) -> Equipment:
        """What its sandbox must have.

        Raises:
            UsageError: the program, or the library of its protocol, is not installed.
        """
        folder = self._installer.require(self.program)
        if self.program.by_protocol:
            check()
        if self.program.registry == "host":
            return Equipment(tools=self.program.tools, door=True)
        bind = Bind(source=folder.resolve(), target=INSTALLED)
        path = f"{INSTALLED}/node_modules/.bin" if self.program.registry == "npm" else f"{INSTALLED}/bin"
        return Equipment(binds=(bind,), path=(path,), tools=self.program.tools, door=True)

    async def work(self, assignment: Assignment) -> Outcome:
        """Work until the program ends and nobody says anything more, or a limit is reached.

        Raises:
            OvernightError: the program failed before it asked the model anything.
        """
        arrivals = await assignment.inbox.arrived()
        home = Home(self.program, assignment)
        exchanges = Exchanges(assignment, home, self.program.asides)
        before = last_step(assignment.history)
        if before is not None and before.state == DONE and not arrivals:
            said = [message for message in messages_so_far(assignment.history) if message.role == "assistant"]
            return Outcome(summary=said[-1].text.strip() if said else "", usage=exchanges.recorder.usage)
        native = await home.restore()
        door = assignment.door
        assert door is not None, "the worker gives a door to whoever asks for one"
        with door.answering(exchanges.answer):
            while True:
                result = await self._round(assignment, door, exchanges, arrivals, native)
                if native and not exchanges.asked and not exchanges.over.is_set():
                    native = False  # it could not take its session up: then it is told everything
                    continue
                await exchanges.end("" if exchanges.over.is_set() else DONE)
                if exchanges.over.is_set() or result.exit_code != 0:
                    break
                if not (arrivals := await assignment.inbox.arrived()):
                    break
                native = bool(self.program.resume or self.program.by_protocol)
        return self._outcome(exchanges, result)

    async def _round(
        self,
        assignment: Assignment,
        door: Door,
        exchanges: Exchanges,
        arrivals: tuple[Arrival, ...],
        native: bool,
    ) -> CommandResult:
        """Run the program once, from its start to its end."""
        launch = self.program.launch(self._wiring(assignment, door))
        if native:
            prompt = "\n\n".join(arrival.text for arrival in arrivals) or GO_ON
            if not self.program.by_protocol:
                launch = msgspec.structs.replace(launch, argv=(*launch.argv, *self.program.resume))
        else:
            prompt = self._prompt(assignment, arrivals, exchanges.conversation.text())
        exchanges.begin(arrivals, native)
        if step := exchanges.recorder.step:
            assignment.events.emit(SessionResumed(step=step, how="native" if native else "replayed"))
        return await self._run(assignment, launch, exchanges, prompt, native)

    def _outcome(self, exchanges: Exchanges, result: CommandResult) -> Outcome:
        if exchanges.over.is_set():
            return Outcome(
                summary=exchanges.recorder.stopped_by,
                usage=exchanges.recorder.usage,
                reached=exchanges.recorder.reached,
            )
        if not exchanges.asked:
            raise OvernightError(
                f"{self.program.title} ended without asking the model: {tail(result)}",
                f"Try it alone: overnight agent doctor {self.name}",
            )
        return Outcome(
            summary=exchanges.summary,
            usage=exchanges.recorder.usage,
            gave_up=result.exit_code != 0 and not exchanges.summary,
        )

    def _wiring(self, assignment: Assignment, door: Door) -> Wiring:
        profile = assignment.model.profile
        return Wiring(
            url=URL,
            model=door.model,
            context_tokens=profile.context_tokens,
            output_tokens=profile.max_output_tokens,
        )

    async def _run(
        self, assignment: Assignment, launch: Launch, exchanges: Exchanges, prompt: str, native: bool
    ) -> CommandResult:
        emit = assignment.events.emit
        name = f"agent-{exchanges.recorder.step + 1}"
        emit(CommandStarted(command_id=name, command=" ".join(launch.argv), purpose="agent"))

        def output(stream: Stream, piece: bytes) -> None:
            emit(CommandOutput(command_id=name, stream=stream, text=piece.decode("utf-8", "replace")))

        def plan(steps: tuple[PlanStep, ...]) -> None:
            emit(PlanUpdated(step=exchanges.recorder.step, steps=steps))

        if self.program.by_protocol:
            running = await converse(assignment, self.program, launch, prompt, output, plan, native)
        else:
            running = await start(assignment.sandbox, self.program, launch, prompt, output)
        result = await self._until_over(running, exchanges)
        emit(
            CommandEnded(
                command_id=name, exit_code=result.exit_code, seconds=result.seconds, limit=result.limit
            )
        )
        return result

    async def _until_over(self, running: Running, exchanges: Exchanges) -> CommandResult:
        """Wait for the program's end; stop it at a limit, or when the attempt is canceled."""
        waiting = asyncio.ensure_future(running.wait())
        over = asyncio.ensure_future(exchanges.over.wait())
        try:
            await asyncio.wait(
                (waiting, over),
                timeout=exchanges.recorder.seconds_left(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not waiting.done() and not exchanges.over.is_set():
                exchanges.recorder.may_go_on()  # records that the time is over
                exchanges.over.set()
            return await (waiting if waiting.done() else running.stop())
        except asyncio.CancelledError:
            await running.stop()
            raise
        finally:
            waiting.cancel()
            over.cancel()
            await asyncio.gather(waiting, over, return_exceptions=True)

    def _prompt(self, assignment: Assignment, arrivals: tuple[Arrival, ...], earlier: str) -> str:
        checks = "\n".join(f"  {check}" for check in assignment.checks) or "  (none are known)"
        reach = assignment.network or "nothing"
        parts = [
            assignment.prompt,
            "Work alone in the current directory; nobody can answer questions. Leave your changes in the "
            "files, uncommitted. Existing tests and the settings of the checks are protected: changes to "
            "them are undone.",
            f"Checks, which will be run again in a clean copy:\n{checks}",
            f"Network: commands reach {reach}.",
        ]
        if earlier:
            parts.append(f"{HANDOVER}\n{earlier}\n\nGo on from there.")
        parts += [f"A person says now:\n{arrival.text}" for arrival in arrivals]
        return "\n\n".join(parts)
