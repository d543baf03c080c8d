"""The seam of every sandbox: a command in, its bytes and exit out, the same near and far."""

import posixpath
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from overnight.domain.limits import Limits

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], None]
OnLimit = Callable[[str, str], None]

WORKSPACE = "/workspace"
"""Where the workspace is mounted inside every sandbox: constant, so that caches stay valid."""
DEPENDENCIES = "/dependencies"
"""Where setup installs what does not belong into the repository (virtual environments, module caches)."""


class Bind(msgspec.Struct, frozen=True, kw_only=True):
    """A host directory or file made visible inside at `target`."""

    source: Path
    target: str
    writable: bool = False


class Listeners(msgspec.Struct, frozen=True, kw_only=True):
    """Sockets that listen inside a sandbox's network namespace and were handed out of it.

    What a program inside connects to arrives here, on the host's side, without a process between.
    """

    streams: Mapping[int, socket.socket]
    """Listening TCP sockets by port: 53, 80, 443, 1080 (SOCKS), 3128 (HTTP proxy)."""
    datagrams: Mapping[int, socket.socket]
    """UDP sockets by port: 53."""


class Egress(Protocol):
    """The only way out of one sandbox: it answers on listeners in a namespace that has no route."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment of every command: proxy variables, where certificates lie."""
        ...

    @property
    def binds(self) -> tuple[Bind, ...]:
        """Files that must be visible inside, such as the bundle of certificates."""
        ...

    def serve(self, listeners: Listeners) -> None:
        """Answer on `listeners`, which are now this object's to close, until `close`."""
        ...

    def asking(self, command: str) -> None:
        """Say which command runs now, for the events of what is asked for; empty when none does."""
        ...

    async def close(self) -> None:
        """Cut every connection and stop listening."""
        ...


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox is made of.

    The workspace at `WORKSPACE` is an overlay of `lower` (top first) with `upper` and `work`; without
    overlay, `lower` is empty and `upper` itself is bound (a copied workspace).
    """

    lower: tuple[Path, ...]
    upper: Path
    work: Path | None = None
    binds: tuple[Bind, ...] = ()
    variables: Mapping[str, str] = {}
    path: tuple[str, ...] = ()
    """Directories inside the sandbox to put in front of PATH."""
    tools: tuple[str, ...] = ()
    """Host programs to offer even where they live outside the system directories."""
    scratch: Path | None = None
    """A directory for `/tmp` and the home inside, which then last from command to command and count as
    disk; when None they are memory and start empty with every sandbox."""
    bounded: bool = False
    """Whether `upper`, `work` and `scratch` lie on a file system of their own of `Limits.disk_bytes`: who
    fills it gets ENOSPC, and what it holds need not be measured."""
    host_writes: Callable[[], int] | None = None
    """Grows whenever the host wrote into `upper` itself. A mounted overlay does not notice that: a lasting
    sandbox mounts it anew before the next command."""
    network: Literal["none", "host", "egress"] = "none"
    egress: Egress | None = None
    """Who answers what is asked for inside, with a network of `egress`; the sandbox closes it."""
    image: str = ""
    """Id of the image to take programs from, for backends that have images; the host's when empty."""
    limits: Limits = Limits()
    on_limit: OnLimit | None = None
    """Told of a limit that is reached without ending a command that is waited for: name and detail."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: `argv`, or `bash -c script` where only a script is given."""

    argv: tuple[str, ...] = ()
    script: str = ""
    directory: str = ""
    """Relative to the workspace."""
    variables: Mapping[str, str] = {}
    stdin: bytes = b""
    seconds: float | None = None
    """Bound on wall time; `Limits.command_seconds` when None."""

    @property
    def text(self) -> str:
        """The command as a person would type it."""
        return self.script or " ".join(self.argv)

    @property
    def words(self) -> tuple[str, ...]:
        """The argument list to execute."""
        return self.argv or ("/bin/bash", "-c", self.script)

    def folder(self, workspace: str = WORKSPACE) -> str:
        """Return where it starts, in a workspace that lies at `workspace`."""
        return posixpath.normpath(posixpath.join(workspace, self.directory))


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended. `exit_code` is minus the signal's number when a signal ended it.

    `stdout` and `stderr` hold at most `Limits.output_bytes` together: the beginning and the end, with a
    line between that says how much is missing. `limit` names the limit that ended the command.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    limit: str | None = None
    detail: str = ""


class Running(Protocol):
    """A command that goes on while others run: a server, a watcher, a long build."""

    async def write(self, data: bytes) -> None:
        """Put bytes into its standard input; does nothing once it ended."""
        ...

    async def wait(self) -> CommandResult:
        """Return how it ended. Cancelling the waiting task leaves it running."""
        ...

    async def stop(self, grace: float = 2.0) -> CommandResult:
        """Ask its process group to end, kill it after `grace` seconds, and return how it ended."""
        ...


class Sandbox(Protocol):
    """Isolation in which commands run over one workspace."""

    async def run(self, command: Command, on_output: OnOutput | None = None) -> CommandResult:
        """Run `command` to its end or to a limit.

        Processes that it leaves in the background live on until `close` where the backend is `lasting`,
        and end with it where it is not. Cancelling the awaiting task kills the command. Raises
        `SandboxUnavailableError` when the sandbox itself cannot start; a command that fails is a result,
        never an exception.
        """
        ...

    async def start(self, command: Command, on_output: OnOutput | None = None) -> Running:
        """Start `command` and return at once; it is bound by the same limits, wall time only if given."""
        ...

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process inside for as long as the context lasts, so that files hold still."""
        ...

    async def close(self) -> None:
        """End everything that still runs inside."""
        ...


class SandboxBackend(Protocol):
    """A way of isolating that this machine offers."""

    name: str
    """`namespaces`, `bubblewrap`, `container` or `none`."""
    overlay: bool
    """Whether workspaces may be overlays; if not they are copies."""
    lasting: bool
    """Whether one sandbox serves many commands, with what they left in the background alive between."""
    networks: frozenset[str]
    """Which of a spec's networks it can give."""
    owner: tuple[int, int] | None
    """(uid, gid) that files of a workspace must belong to; None when it is the caller's own."""

    async def pin(self, image: str) -> str:
        """Return the id of a local image, to be put into specs; empty where there are no images.

        Raises `UsageError` when it is not on this machine or must not be used.
        """
        ...

    def open(self, spec: SandboxSpec) -> Sandbox:
        """Return a sandbox over the workspace that `spec` describes; cheap, nothing starts yet."""
        ...
