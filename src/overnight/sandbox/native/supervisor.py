"""The first process of a sandbox: builds it, then runs commands on request, several at once, and reaps.

It has the sandbox's own user and no privilege, so what runs inside could at worst take it over and end
the sandbox. The host believes nothing that it says beyond the end of a command.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import time
from typing import Any, Final, NoReturn

from overnight.sandbox.native import landlock, messages, network, root, syscalls

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KILL_SECONDS: Final = 10.0
_REMEMBERED: Final = 4096
_STREAMS: Final = 3
_RESET: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""All of them: the C library asks and sets one by one those that it is not told."""


class Supervisor:
    """Runs commands for the host at the other end of `control`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._greeted = False
        self._commands: dict[int, int] = {}
        """Pid of the first process of each running command → the command's number."""
        self._origins: dict[int, tuple[int, int]] = {}
        """Number of each of the last commands → its first process, and when it began in clock ticks."""
        # Quicker than a handler, which interrupts the waiting only to have it begun anew.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._ends = syscalls.open_signal(signal.SIGCHLD)
        self._waiting = select.poll()
        self._waiting.register(control, select.POLLIN)
        self._waiting.register(self._ends, select.POLLIN)

    def serve(self) -> NoReturn:
        """Do what the host asks for until it goes away, which is told that the door is closed."""
        if self._waiting.poll(0):
            self.wait()  # a command that is there already need not wait for our talk
        self._greet()
        while True:
            self.wait()

    def wait(self) -> None:
        """Wait until the host asks for something or a process ended, and do what is to be done then."""
        for descriptor, _ in self._waiting.poll():
            if descriptor == self._ends:
                os.read(self._ends, 4096)
                self._reap()
            else:
                self._obey()

    @property
    def busy(self) -> bool:
        """Whether a command runs."""
        return bool(self._commands)

    def close(self) -> None:
        """Give back what was made to wait for the ends of processes."""
        os.close(self._ends)

    def _obey(self) -> None:
        received = messages.receive(self._control)
        if received is None:
            os._exit(0)
        message, descriptors = received
        try:
            if "run" in message:
                self._run(message, descriptors)
            elif "kill" in message:
                self._kill(message)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _greet(self) -> None:
        if not self._greeted:
            self._greeted = True
            self._say({"claimed": True})

    def _say(self, message: dict[str, Any]) -> None:
        self._greet()
        try:
            messages.send(self._control, message)
        except OSError:
            os._exit(0)

    def _run(self, message: dict[str, Any], descriptors: list[int]) -> None:
        number: int = message["run"]
        if len(descriptors) != _STREAMS:
            # Whoever lowered our bound on descriptors from inside wants a command with streams of ours.
            os._exit(1)
        began = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS) - 1
        try:
            os.chdir(message["directory"])
            process = _spawn(message["argv"], message["variables"], descriptors)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            what = (error.filename if isinstance(error, OSError) else None) or message["argv"][0]
            with contextlib.suppress(OSError):
                os.write(descriptors[2], f"{what}: {said}\n".encode())
            self._say({"exit": number, "code": 126 if isinstance(error, PermissionError) else 127})
            return
        self._commands[process] = number
        self._origins[number] = (process, began)
        self._origins.pop(number - _REMEMBERED, None)

    def _reap(self) -> None:
        ended: list[tuple[int, int]] = []
        left = True
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                # Orphans become our children: where there are none, nobody is left.
                left = False
                break
            if not process:
                break
            known = self._commands.pop(process, None)
            if known is not None:
                ended.append((known, os.waitstatus_to_exitcode(status)))
        for number, code in ended:
            self._say({"exit": number, "code": code, "left": left})

    def _kill(self, message: dict[str, Any]) -> None:
        number, scope = message["kill"], message["scope"]
        leader, since = self._origins.get(number, (-1, -1))
        if scope == "group":
            if leader in self._commands:  # not reaped yet, so the number is still its own
                with contextlib.suppress(OSError):
                    os.killpg(leader, message["signal"])
            return
        deadline = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < deadline:
            if scope == "all":
                victims = [process for process, *_ in _processes()]
            else:
                victims = self._family(leader, since) if leader > 0 else []
            if not victims:
                break
            for process in victims:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.0005)
            self._reap()
        self._say({"killed": number})

    def _family(self, leader: int, since: int) -> list[int]:
        """Return what belongs to a command: its session, what lies below it, and newer orphans of nobody.

        A process that left session and parent is an orphan here. It counts as the command's if it is not
        older, and if no other running command has its session.
        """
        seen = _processes()
        others = {process for process in self._commands if process != leader}
        family = {leader}
        for process, parent, session, began in seen:
            orphan = parent == 1 and process not in self._commands and session not in others
            if session == leader or (orphan and began >= since):
                family.add(process)
        grown = True
        while grown:
            below = {process for process, parent, _, _ in seen if parent in family} - family
            grown = bool(below)
            family |= below
        return [process for process, *_ in seen if process in family]


def _processes() -> list[tuple[int, int, int, int]]:
    """Return (pid, parent, session, start in clock ticks) of everything here that lives, but ourselves."""
    found: list[tuple[int, int, int, int]] = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and name != "1":
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] not in {b"Z", b"X"}:
                    found.append((int(name), int(fields[1]), int(fields[3]), int(fields[19])))
    return found


def _spawn(argv: list[str], variables: dict[str, str], descriptors: list[int]) -> int:
    """Start a program in a session of its own, found as a shell would; return its pid.

    Raises:
        OSError: it is not there, or cannot be executed.
    """
    streams = [(os.POSIX_SPAWN_DUP2, given, number) for number, given in enumerate(descriptors)]
    name = argv[0]
    if "/" in name:
        candidates = [name]
    else:
        candidates = [f"{folder or '.'}/{name}" for folder in variables.get("PATH", "").split(":")]
    refused: OSError = FileNotFoundError(2, "No such file or directory", name)
    for candidate in candidates:
        # A look costs a hundredth of a start that fails.
        if not os.access(candidate, os.F_OK):
            continue
        try:
            return _spawn_one(candidate, argv, variables, streams)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
        except OSError as error:
            if error.errno != 8:  # ENOEXEC
                raise
            # A script without a first line that names its interpreter.
            return _spawn_one("/bin/sh", ["sh", candidate, *argv[1:]], variables, streams)
    raise refused


def _spawn_one(
    path: str, argv: list[str], variables: dict[str, str], streams: list[tuple[int, int, int]]
) -> int:
    return os.posix_spawn(
        path, argv, variables, file_actions=streams, setsid=True, setsigmask=[], setsigdef=_RESET
    )


def supervise(control: socket.socket, base: dict[str, Any], opened: list[int]) -> NoReturn:
    """Be a sandbox's first process from beginning to end; never returns."""
    try:
        with contextlib.suppress(Exception):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        _become_ready(control, base, opened).serve()
    except BaseException as error:  # the host must hear of it, and nothing here may run on
        with contextlib.suppress(Exception):
            where = getattr(error, "filename", None)
            text = f"{type(error).__name__}: {error}" if where is None else f"{where}: {error}"
            messages.send(control, {"failed": text})
    finally:
        os._exit(1)


def _warm_up() -> None:
    """Run a command while nobody waits: the first one copies the pages that this process shares."""
    ours, theirs = messages.pair()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    trial = Supervisor(theirs)
    try:
        variables = {"PATH": "/nowhere:/usr/bin:/bin"}
        run = {"run": 1, "argv": ["true"], "directory": "/", "variables": variables}
        messages.send(ours, run, [null, null, null])
        trial.wait()
        while trial.busy:
            trial.wait()
        messages.receive(ours)
    finally:
        trial.close()
        os.close(null)
        ours.close()
        theirs.close()


def _become_ready(control: socket.socket, base: dict[str, Any], opened: list[int]) -> Supervisor:
    root.build(base, opened)
    # The kernel counts descriptors under way for each user, and all sandboxes may be one: with the usual
    # bound of 1024 one of them could keep the others from handing their listeners out.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    listeners: list[tuple[str, int, socket.socket]] = []
    if base["network"] != "host":
        network.raise_loopback()
    if base["network"] == "egress":
        network.capture_all()
        listeners = network.make_listeners()
    shown = [[kind, port] for kind, port, _ in listeners]
    messages.send(control, {"ready": True, "listeners": shown}, [each.fileno() for *_, each in listeners])
    for *_, listener in listeners:
        listener.close()
    if base["ahead"]:
        with contextlib.suppress(OSError):
            _warm_up()
            root.rehearse()
    filter_of_calls = bytes.fromhex(base["filter"])
    rules = landlock.Ruleset() if base["landlock"] else None
    supervisor = Supervisor(control)
    claim, mounts = _await(control)
    if claim["handed"]:
        # The host makes the mounts while we wake up.
        _, mounts = _await(control)
    root.finish(claim, mounts, rules)
    # Becoming less privileged made the kernel forget this.
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.filter_calls(filter_of_calls)
    return supervisor


def _await(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    received = messages.receive(control)
    if received is None:
        os._exit(0)
    return received
