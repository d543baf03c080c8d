"""The host's hold on one live sandbox: its first process, and the socket to the supervisor in it.

What comes over the socket after the first command started may be lies: it is bounded and checked, and at
worst ends this sandbox.
"""

import asyncio
import contextlib
import itertools
import os
import select
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import cast

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.interface import Listeners
from overnight.sandbox.native import messages
from overnight.sandbox.native.messages import Message

_STARTING_SECONDS = 60.0
_DYING_MILLISECONDS = 10_000
_OBEYING_SECONDS = 20.0
"""How long a supervisor may take to end a command before its sandbox is ended instead."""


class TakesNoCommandError(SandboxUnavailableError):
    """The sandbox ended before it got a command, which may be given to another."""


class Ending:
    """One command as the host sees it: how it ended, once it did."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended = asyncio.Event()
        self.killed = asyncio.Event()
        self.code: int | None = None
        """None while it runs, and for good when the whole sandbox ended instead."""
        self.left = False
        """Whether processes were left in the sandbox."""


class Inside:
    """A sandbox that is being made, or lives.

    Until it is claimed nothing of others runs in it, so what it says till then can be believed.

    Args:
        control: our end of the socket whose other end its first process has.
        maps: whether a map of users is made with it, for mounts.
    """

    def __init__(self, control: socket.socket, *, maps: bool = False) -> None:
        self.pid = 0
        """Its first process as the host sees it; 0 until it is known."""
        self.gone = False
        self.dead = False
        """Whether, after `close`, it is certain that none of its processes is left."""
        self.unclaimed = True
        """Whether it has not said yet that its door is closed."""
        self._control = control
        self.namespaces: list[int] = []
        """Its user and mount namespaces, where only a process that enters them may change its mounts."""
        self._handle: int | None = None
        self._listeners: list[tuple[str, int, socket.socket]] = []
        self._commands: dict[int, Ending] = {}
        self._numbers = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settled = asyncio.Event()
        self._map: int | None = None
        self._mapped = asyncio.Event()
        if not maps:
            self._mapped.set()
        self._why = "it ended without a word"
        control.setblocking(False)

    def enter(self, groups: Sequence[int]) -> None:
        """Let it go on into its control groups, given as open files that take a process.

        Raises:
            OSError: it is gone.
        """
        messages.send(self._control, {"enter": True}, groups)

    def catch_up(self) -> None:
        """Take in what it has said so far."""
        while not self.gone and self._on_message():
            pass

    async def take_map(self) -> int | None:
        """Return the map that is made with it, now the caller's; None where the kernel makes none.

        Raises:
            SandboxUnavailableError: it could not be made.
        """
        self.catch_up()
        if not self._mapped.is_set():
            loop = asyncio.get_running_loop()
            loop.add_reader(self._control, self._on_message)
            try:
                async with asyncio.timeout(_STARTING_SECONDS):
                    await self._mapped.wait()
            except TimeoutError:
                self._fail("it takes too long")
            finally:
                loop.remove_reader(self._control)
        if self.gone:
            raise _not_started(self._why)
        taken, self._map = self._map, None
        return taken

    def claim(self, plan: Message) -> None:
        """Tell it what one attempt needs, whether it is ready or not; `settled` waits for its answer.

        Commands may be sent at once: none begins before the door is closed.

        Raises:
            SandboxUnavailableError: it is gone.
        """
        self._give(plan, ())
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._control, self._on_message)

    def hand(self, mounts: Sequence[int]) -> None:
        """Hand it the mounts that its claim says will come.

        Raises:
            SandboxUnavailableError: it is gone.
        """
        self._give({"mounts": True}, mounts)

    def _give(self, message: Message, descriptors: Sequence[int]) -> None:
        try:
            messages.send(self._control, message, descriptors)
        except OSError as error:
            self.catch_up()  # it may have said why
            raise _not_started(self._why if self.gone else str(error)) from error

    async def settled(self) -> None:
        """Return once its door is closed.

        Raises:
            SandboxUnavailableError: it could not be made.
        """
        if not self._settled.is_set():
            try:
                async with asyncio.timeout(_STARTING_SECONDS):
                    await self._settled.wait()
            except TimeoutError:
                self._fail("it takes too long")
        if self.unclaimed:
            raise _not_started(self._why)

    def take_listeners(self) -> Listeners:
        """Return the sockets that listen inside, now the caller's to close."""
        taken, self._listeners = self._listeners, []
        of = {kind: {port: each for k, port, each in taken if k == kind} for kind in ("streams", "datagrams")}
        return Listeners(streams=of["streams"], datagrams=of["datagrams"])

    def run(
        self, argv: Sequence[str], directory: str, variables: Mapping[str, str], streams: Sequence[int]
    ) -> Ending:
        """Have a program started with those standard streams; its end comes later.

        Raises:
            TakesNoCommandError: the sandbox is gone.
        """
        ending = Ending(next(self._numbers))
        message = {
            "run": ending.number, "argv": list(argv), "directory": directory, "variables": dict(variables),
        }  # fmt: skip
        self._commands[ending.number] = ending
        try:
            messages.send(self._control, message, list(streams))
        except OSError as error:
            del self._commands[ending.number]
            self.end()
            raise TakesNoCommandError(f"The sandbox takes no command: {error}") from error
        return ending

    def ask(self, ending: Ending) -> None:
        """Ask a command's process group to end."""
        self._tell({"kill": ending.number, "scope": "group", "signal": int(signal.SIGTERM)})

    def kill(self, ending: Ending, *, everything: bool) -> None:
        """Kill a command with what it started, or everything inside; end the sandbox if that fails."""
        self._tell({"kill": ending.number, "scope": "all" if everything else "tree"})
        if self._loop is not None and not self.gone:
            self._loop.call_later(_OBEYING_SECONDS, self._check_killed, ending)

    def kill_all(self) -> None:
        """Kill everything inside that no running command accounts for, and what is running too."""
        self._tell({"kill": 0, "scope": "all"})

    def _check_killed(self, ending: Ending) -> None:
        if not (ending.killed.is_set() and ending.ended.is_set()):
            self.end()

    def _tell(self, message: Message) -> None:
        if self.gone:
            return
        try:
            messages.send(self._control, message)
        except OSError:
            self.end()

    def _on_message(self) -> bool:
        """Take in one message, and say whether there was one."""
        try:
            # It has descriptors to give only while it is made.
            received = messages.receive(self._control, messages.MAX_DESCRIPTORS if self.unclaimed else 0)
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            self._fail(str(error))
            return True
        if received is None:
            self.end()
        elif self.unclaimed:
            self._take_in(*received)
        elif not self._believe(received[0]):
            self.end()
        return True

    def _take_in(self, message: Message, descriptors: list[int]) -> None:
        """Take in a message of one that is being made."""
        match message:
            case {"pid": int(pid)} if descriptors:
                self.pid, self._handle, self.namespaces = pid, descriptors[0], descriptors[1:]
                return
            case {"ready": True}:
                shown = cast("list[tuple[str, int]]", message["listeners"])
                for (kind, port), descriptor in zip(shown, descriptors, strict=True):
                    self._listeners.append((kind, port, socket.socket(fileno=descriptor)))
                return
            case {"map": True}:
                self._map = descriptors[0] if descriptors else None
                self._mapped.set()
                return
            case {"claimed": True}:
                self.unclaimed = False
                self._settled.set()
            case {"failed": str(why)}:
                self._fail(why)
            case _:
                self._fail("it says nothing of use")
        for descriptor in descriptors:
            os.close(descriptor)

    def _fail(self, why: str) -> None:
        self._why = why
        self.end()

    def _believe(self, message: Message) -> bool:
        """Take in one message, and say whether it was one that a supervisor may send."""
        match message:
            case {"exit": int(number), "code": int(code)} if -128 <= code <= 255:
                ending = self._commands.get(number)
                if ending is None or ending.ended.is_set():
                    return False
                ending.code = code
                ending.left = bool(message.get("left", False))
                ending.ended.set()
                return True
            case {"killed": int(number)}:
                ending = self._commands.get(number)
                if ending is not None:
                    ending.killed.set()
                return True
            case _:
                return False

    def forget(self, ending: Ending) -> None:
        """Expect nothing more of a command."""
        self._commands.pop(ending.number, None)

    def end(self) -> None:
        """Kill everything inside, this instant; safe to call again."""
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        if self.gone:
            return
        self.gone = True
        if self._loop is not None:
            self._loop.remove_reader(self._control)
        self._settled.set()
        self._mapped.set()
        for ending in self._commands.values():
            ending.ended.set()
            ending.killed.set()

    async def wait(self) -> None:
        """Return when, after `end`, nothing of it is left, and give its descriptors back."""
        if self._handle is not None:
            loop = asyncio.get_running_loop()
            dead = asyncio.Event()
            loop.add_reader(self._handle, dead.set)
            try:
                await dead.wait()
            finally:
                loop.remove_reader(self._handle)
        self.close()

    def close(self) -> None:
        """End it, wait for that at most some seconds without a loop, and give the descriptors back."""
        self.end()
        self._control.close()
        for *_, listener in self._listeners:
            listener.close()
        self._listeners.clear()
        while self.namespaces:
            os.close(self.namespaces.pop())
        if self._map is not None:
            os.close(self._map)
            self._map = None
        if self._handle is not None:
            waiting = select.poll()
            waiting.register(self._handle, select.POLLIN)
            self.dead = bool(waiting.poll(_DYING_MILLISECONDS))
            os.close(self._handle)
            self._handle = None


def _not_started(why: str) -> SandboxUnavailableError:
    return SandboxUnavailableError(
        f"The sandbox did not start: {why}", "Run `overnight doctor` to see what this machine lacks."
    )
