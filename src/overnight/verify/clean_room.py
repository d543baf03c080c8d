"""Runs one check in a workspace that nothing else has used, and reads what its runner reported."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from overnight.domain.limits import Limits
from overnight.domain.patch import FileChange
from overnight.domain.verdict import CheckRun
from overnight.environments.interface import Workspace
from overnight.environments.services import Serving
from overnight.sandbox.interface import Command, CommandResult, OnLimit, Sandbox, SandboxBackend, Stream
from overnight.verify.runners import channel, equip, observe
from overnight.verify.runners.python import refused

OUTPUT_BYTES = 16_384
"""How much of the end of a check's output is kept."""


class CleanRoom(msgspec.Struct, frozen=True, kw_only=True):
    """Where checks run.

    `new_workspace` makes an untouched workspace over the base snapshot at every call; it is closed here.
    """

    new_workspace: Callable[[], Workspace]
    backend: SandboxBackend
    scratch: Path
    """A host directory for result channels, which no sandbox sees otherwise."""
    limits: Limits = Limits()
    begin: Callable[[Sandbox], Awaitable[Serving]] | None = None
    """Starts what the recipe wants in every sandbox before its first command."""
    beside: tuple[str, ...] = ()
    """What that is, for people."""
    on_limit: OnLimit | None = None
    """See `SandboxSpec.on_limit`."""

    async def run(
        self, check: str, changes: Sequence[FileChange], is_protected: Callable[[str], bool]
    ) -> CheckRun:
        """Run `check` once over the base with `changes`.

        Raises:
            PatchError: the changes cannot be written.
            SandboxUnavailableError: the sandbox cannot start.
        """
        run = await self._run(check, changes, is_protected, watched=True)
        if run.evidence == "exit_code" and refused(run.output):
            # A wrapper replaced PYTHONPATH, so that pytest cannot find our plugin: run it as it is.
            run = await self._run(check, changes, is_protected, watched=False)
        return run

    async def _run(
        self,
        check: str,
        changes: Sequence[FileChange],
        is_protected: Callable[[str], bool],
        watched: bool,
    ) -> CheckRun:
        workspace = self.new_workspace()
        try:
            workspace.apply(changes)
            way = channel.Channel(self.scratch, self.backend.owner, mounted=self.backend.name != "none")
            try:
                return await self._watch(check, workspace, way, changes, is_protected, watched)
            finally:
                way.close()
        finally:
            workspace.close()

    async def _watch(
        self,
        check: str,
        workspace: Workspace,
        way: channel.Channel,
        changes: Sequence[FileChange],
        is_protected: Callable[[str], bool],
        watched: bool,
    ) -> CheckRun:
        spec = workspace.spec()
        command = Command(script=check)
        if watched:
            equipment = equip(check, way, spec.variables, workspace.read)
            command = Command(script=equipment.script, variables=equipment.variables)
        spec = msgspec.structs.replace(
            spec, binds=(*spec.binds, *way.binds), network="none", limits=self.limits, on_limit=self.on_limit
        )
        tail = bytearray()

        def keep(_stream: Stream, data: bytes) -> None:
            tail.extend(data)
            del tail[: -4 * OUTPUT_BYTES]

        sandbox = self.backend.open(spec)
        serving = None
        try:
            serving = await self.begin(sandbox) if self.begin is not None else None
            result = await sandbox.run(command, keep)
        finally:
            if serving is not None:
                await serving.close()
            await sandbox.close()
        touched = _touched(workspace, changes, is_protected)
        return _check_run(check, result, bytes(tail), way, workspace, touched)


def _check_run(
    check: str,
    result: CommandResult,
    tail: bytes,
    way: channel.Channel,
    workspace: Workspace,
    touched: tuple[str, ...],
) -> CheckRun:
    whole = (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace")
    seen = observe(check, whole, way.sessions(), workspace.read)
    output = tail.decode("utf-8", "replace") if seen.output == whole else seen.output
    return CheckRun(
        command=check,
        exit_code=result.exit_code,
        seconds=result.seconds,
        evidence=seen.evidence,
        tests=seen.tests,
        finished=seen.finished and result.limit is None,
        output=output[-OUTPUT_BYTES:],
        limit=result.limit,
        tampered=tuple(sorted({*seen.tampered, *touched})),
    )


def _touched(
    workspace: Workspace, changes: Sequence[FileChange], is_protected: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return the protected files that the run itself changed or removed: tests must not be rewritten."""
    ours = {change.path for change in changes}
    return tuple(
        f"file {change.path}"
        for change in workspace.changes()
        if change.path not in ours and change.change != "added" and is_protected(change.path)
    )
