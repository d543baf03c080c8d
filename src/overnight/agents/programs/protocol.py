"""Talks to a program in the Agent Client Protocol over its standard streams, by the protocol's own library.

What it says to its model goes through the gateway, as with every program: the protocol starts it, lets it go
on with a session, shows its plan and stops it.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from overnight.domain.errors import OvernightError, UsageError
from overnight.domain.events import PlanStep
from overnight.sandbox.interface import WORKSPACE, Running, Stream

if TYPE_CHECKING:
    from acp import RequestPermissionResponse
    from acp.schema import PermissionOption

OnPlan = Callable[[tuple[PlanStep, ...]], None]
_LINE_BYTES = 4 * 1024**2
"""Of one message; a program that writes a longer one is heard no more."""
_STATES = {"pending": "pending", "in_progress": "doing", "completed": "done"}
_PLAN_STEPS, _PLAN_TEXT = 50, 300
_CANCEL_SECONDS = 10.0


class Lines:
    """The protocol's messages over the streams of a command: one JSON object a line.

    The program is hostile: only what the library takes without complaint is passed on to it.
    """

    def __init__(self, output_bytes: int) -> None:
        """`output_bytes`: how much of its output a command may show; behind it nothing comes any more."""
        self._room = output_bytes
        self._held = bytearray()
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._running: Running | None = None
        self.full = False
        """Whether it said more than it may."""

    def speak_to(self, running: Running) -> None:
        """Send what is said to this command."""
        self._running = running

    def hear(self, stream: Stream, piece: bytes) -> None:
        """Take what the program wrote."""
        self._room -= len(piece)
        if stream == "stdout" and not self.full and b"\n" not in piece:
            self._held += piece
        elif stream == "stdout" and not self.full:
            *lines, rest = (bytes(self._held) + piece).split(b"\n")
            self._held = bytearray(rest)
            for line in lines:
                if (message := _message(line)) is not None:
                    self._messages.put_nowait(message)
        if self._room <= 0 or len(self._held) > _LINE_BYTES:
            self.full = True
            self.end()

    def end(self) -> None:
        """Say that nothing more will come."""
        self._messages.put_nowait(None)

    async def send(self, message: dict[str, Any]) -> None:
        """Say something."""
        if self._running is None:
            raise ConnectionError("nobody is there yet")
        await self._running.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return what was said next, None at the end."""
        return await self._messages.get()

    async def close(self) -> None:
        """Leave the streams to the command."""


def _message(line: bytes) -> dict[str, Any] | None:
    """Return a line as a message; None where it is none, or one that nobody here needs."""
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    message = cast("dict[str, Any]", read)
    if isinstance(message.get("method"), str):
        # Of what is only told, plans alone.
        return message if "id" in message or _plan(message) is not None else None
    answers = type(message.get("id")) is int and ("result" in message or _is_error(message.get("error")))
    return message if answers and "method" not in message else None


def _is_error(error: object) -> bool:
    if not isinstance(error, dict):
        return False
    read = cast("dict[str, Any]", error)
    return isinstance(read.get("code"), int) and isinstance(read.get("message"), str)


def _plan(message: dict[str, Any]) -> tuple[PlanStep, ...] | None:
    """Return the plan that a notification holds."""
    from acp.schema import AgentPlanUpdate, SessionNotification
    from pydantic import ValidationError

    if message.get("method") != "session/update":
        return None
    try:
        update = SessionNotification.model_validate(message.get("params")).update
    except (ValidationError, RecursionError):
        return None
    return _steps(update) if isinstance(update, AgentPlanUpdate) else None


def _steps(update: Any) -> tuple[PlanStep, ...]:
    return tuple(
        PlanStep(entry.content[:_PLAN_TEXT], _STATES.get(entry.status, "pending"))  # pyright: ignore[reportArgumentType]
        for entry in update.entries[:_PLAN_STEPS]
    )


class _Person:
    """What the program takes for the person at the other end: grants all, for the sandbox is the boundary."""

    def __init__(self, on_plan: OnPlan) -> None:
        self._on_plan = on_plan
        self._last: tuple[PlanStep, ...] = ()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: "list[PermissionOption]", **kwargs: Any
    ) -> "RequestPermissionResponse":
        """Choose what allows most."""
        from acp import RequestPermissionResponse
        from acp.schema import AllowedOutcome, DeniedOutcome

        del session_id, tool_call, kwargs
        for kind in ("allow_always", "allow_once"):
            for option in options:
                if option.kind == kind:
                    chosen = AllowedOutcome(outcome="selected", option_id=option.option_id)
                    return RequestPermissionResponse(outcome=chosen)
        return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))

    async def session_update(self, session_id: str, update: Any, **kwargs: Any) -> None:
        """Show a plan."""
        del session_id, kwargs
        steps = _steps(update)
        if steps != self._last:
            self._last = steps
            self._on_plan(steps)


class Talk:
    """One session of a program that speaks the protocol."""

    def __init__(self, lines: Lines, on_plan: OnPlan) -> None:
        """Prepare for the program whose output `lines` hears.

        Raises:
            UsageError: the protocol's library is not installed.
        """
        check()
        from acp import connect_to_agent

        person: Any = _Person(on_plan)
        self._connection = connect_to_agent(person, lines)
        self.session = ""

    async def begin(self, session: str = "") -> str:
        """Open a session, or go on with one; return its name.

        Raises:
            OvernightError: the program cannot, or speaks something else.
        """
        from acp import PROTOCOL_VERSION, RequestError
        from acp.schema import ClientCapabilities, FileSystemCapabilities
        from pydantic import ValidationError

        # Files and commands are the program's own affair, inside the sandbox.
        nothing = ClientCapabilities(
            fs=FileSystemCapabilities(read_text_file=False, write_text_file=False), terminal=False
        )
        try:
            said = await self._connection.initialize(PROTOCOL_VERSION, nothing)
            if session:
                can = said.agent_capabilities
                if can is None or not can.load_session:
                    raise OvernightError("the program takes no session up again")
                await self._connection.load_session(cwd=WORKSPACE, session_id=session, mcp_servers=[])
                self.session = session
            else:
                made = await self._connection.new_session(cwd=WORKSPACE, mcp_servers=[])
                self.session = made.session_id
        except (RequestError, ConnectionError, ValidationError) as error:
            raise OvernightError(f"no session: {error}") from None
        return self.session

    async def ask(self, text: str) -> bool:
        """Let the program work on `text`; say whether it came to the end of its turn.

        Raises:
            OvernightError: it broke off.
        """
        from acp import RequestError, text_block
        from pydantic import ValidationError

        try:
            done = await self._connection.prompt(session_id=self.session, prompt=[text_block(text)])
        except (RequestError, ConnectionError, ValidationError) as error:
            raise OvernightError(f"it broke off: {error}") from None
        return done.stop_reason == "end_turn"

    async def cancel(self) -> None:
        """Ask the program to stop; it is not waited for long."""
        if self.session:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_CANCEL_SECONDS):
                    await self._connection.cancel(session_id=self.session)

    async def close(self) -> None:
        """End the conversation."""
        await self._connection.close()


def check() -> None:
    """Say whether the protocol's library is there.

    Raises:
        UsageError: it is not.
    """
    try:
        import acp  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        hint = "Install it: pip install 'overnight[agents]'"
        raise UsageError("The library agent-client-protocol is not installed", hint) from None
