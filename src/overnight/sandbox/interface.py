"""The seam of every sandbox: a command in, its bytes and exit out, the same near and far."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from overnight.domain.task import Limits

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], None]

WORKSPACE = "/workspace"
"""Where the workspace is mounted inside every sandbox: constant, so that caches stay valid."""
DEPENDENCIES = "/dependencies"
"""Where setup installs what does not belong into the repository (virtual environments, module caches)."""


class Bind(msgspec.Struct, frozen=True, kw_only=True):
    """A host directory or file made visible inside at `target`."""

    source: Path
    target: str
    writable: bool = False


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
    disk; when None they are memory and start empty with every command."""
    network: Literal["none", "host"] = "none"
    limits: Limits = Limits()


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


class Sandbox(Protocol):
    """Isolation in which commands run over one workspace; one command at a time."""

    async def run(self, command: Command, on_output: OnOutput | None = None) -> CommandResult:
        """Run `command` to its end or to a limit; nothing it started survives.

        Cancelling the awaiting task kills the command. Raises `SandboxUnavailableError` when the
        sandbox itself cannot start; a command that fails is a result, never an exception.
        """
        ...

    async def close(self) -> None:
        """End everything that still runs inside."""
        ...


class SandboxBackend(Protocol):
    """A way of isolating that this machine offers."""

    name: str
    """`namespaces` or `none`."""
    overlay: bool
    """Whether workspaces may be overlays; if not they are copies."""
    owner: tuple[int, int] | None
    """(uid, gid) that files of a workspace must belong to; None when it is the caller's own."""

    def open(self, spec: SandboxSpec) -> Sandbox:
        """Return a sandbox over the workspace that `spec` describes; cheap, nothing starts yet."""
        ...
