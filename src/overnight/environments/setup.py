"""Runs a recipe's setup in a sandbox of its own, with the network it may have, and keeps what it made."""

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from overnight.domain.environment import Recipe
from overnight.domain.errors import SetupError
from overnight.domain.events import CommandEnded, CommandOutput, CommandStarted, LimitHit, Noted, PhaseChanged
from overnight.domain.limits import Limits
from overnight.domain.network import parse_network
from overnight.domain.ports import EventSink, LentSecrets
from overnight.environments.beneath import (
    Owner,
    chown_tree,
    is_git,
    make_directory,
    remove_tree,
    stat_at,
)
from overnight.environments.checkouts import Checkout
from overnight.environments.client_settings import ClientSettings
from overnight.environments.copying import copy_tree
from overnight.environments.egress import way_out
from overnight.environments.layers import is_whiteout
from overnight.environments.leftovers import refuse_leftovers
from overnight.git.checkout import SANDBOX_OBJECTS
from overnight.sandbox.interface import (
    DEPENDENCIES,
    Bind,
    Command,
    CommandResult,
    Sandbox,
    SandboxBackend,
    SandboxSpec,
    Stream,
)
from overnight.sandbox.watch import reports

_TAIL_LINES = 25
_SETUP_BYTES = 32 * 1024**3


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a recipe's setup over a checkout. `folder` is empty and becomes the setup layer.

    With `seed`, the layer of an earlier setup, it starts from a copy of that and runs the recipe's
    maintenance instead.
    """

    folder: Path
    checkout: Checkout
    seed: Path | None = None
    objects: Path
    recipe: Recipe
    owner: Owner
    limits: Limits
    settings: ClientSettings
    secrets: LentSecrets | None = None
    """Lent to the setup's commands, and to be found nowhere in what they made."""

    @property
    def layer(self) -> Path:
        """The files that setup made inside the repository."""
        return self.folder / "layer"

    @property
    def dependencies(self) -> Path:
        """What setup put into `/dependencies`."""
        return self.folder / "dependencies"

    async def run(self, backend: SandboxBackend, events: EventSink) -> None:
        """Run every command, then drop what belongs to the checkout or to git.

        Raises:
            SetupError: a command failed, setup took longer than the recipe allows, or it left the value of a
            secret that it was lent.
        """
        make_directory(self.layer, self.owner)
        make_directory(self.dependencies, self.owner)
        if self.seed is not None:
            await asyncio.to_thread(self._copy, (self.seed / "dependencies",), self.dependencies)
        if backend.overlay:
            make_directory(self.folder / "work", self.owner)
            under = () if self.seed is None else (self.seed / "layer",)
        else:
            under = (*self.checkout.layers, *(() if self.seed is None else (self.seed / "layer",)))
        await asyncio.to_thread(self._copy, under, self.layer)
        sandbox = backend.open(self._spec(backend, events))
        try:
            await self._commands(sandbox, events)
        finally:
            await sandbox.close()
        for name in ("work", "scratch", "settings", "egress"):
            remove_tree(self.folder / name)
        await asyncio.to_thread(keep_created, self.layer, self.checkout.paths())
        if self.secrets is not None and self.secrets.searched:
            roots = {"": self.layer, DEPENDENCIES: self.dependencies}
            await asyncio.to_thread(refuse_leftovers, roots, self.secrets)

    @property
    def _scripts(self) -> tuple[str, ...]:
        return self.recipe.setup if self.seed is None else self.recipe.maintenance

    def _copy(self, layers: tuple[Path, ...], destination: Path) -> None:
        for layer in reversed(layers):
            copy_tree(layer, destination)
        chown_tree(destination, self.owner)

    def _spec(self, backend: SandboxBackend, events: EventSink) -> SandboxSpec:
        overlay = backend.overlay
        binds = [
            Bind(source=self.objects, target=SANDBOX_OBJECTS),
            Bind(source=self.dependencies, target=DEPENDENCIES, writable=True),
        ]
        variables = dict(self.recipe.variables)
        network = parse_network(self.recipe.setup_network)
        # By choice setup has the machine's own network, as it is; every other policy goes by the proxy.
        reach, egress = "host", None
        if network.preset != "open":
            folder = self.folder / "egress"
            reach, egress = way_out(network, backend, self.settings, self.limits, events, folder)
        if not network.closed:
            binds += self._settings_binds()
            # The proxy's own variables must not lose to those of the machine.
            theirs = dict(self.settings.variables)
            for name in egress.variables if egress is not None else ():
                theirs.pop(name, None)
            variables = {**theirs, **variables}
        if self.secrets is not None:
            variables.update(self.secrets.variables)
        return SandboxSpec(
            lower=self.checkout.layers if overlay else (),
            upper=self.layer,
            work=self.folder / "work" if overlay else None,
            binds=tuple(binds),
            variables=variables,
            path=self.recipe.path,
            tools=self.recipe.tools,
            scratch=self.folder / "scratch",
            network=reach,
            egress=egress,
            image=self.recipe.base,
            on_limit=reports(events),
            limits=msgspec.structs.replace(
                self.limits,
                command_seconds=self.recipe.setup_seconds,
                disk_bytes=max(self.limits.disk_bytes, _SETUP_BYTES),
            ),
        )

    def _settings_binds(self) -> list[Bind]:
        """Copy the settings files for the sandbox's user alone; bind local indexes where they are."""
        binds = [Bind(source=path, target=str(path)) for path in self.settings.directories if path.is_dir()]
        folder = self.folder / "settings"
        make_directory(folder, self.owner, 0o700)
        for number, file in enumerate(self.settings.files):
            content = file.read()
            if content is None:
                continue
            copy = folder / str(number)
            copy.touch(0o600)
            copy.write_bytes(content)
            copy.chmod(0o400)
            if self.owner is not None:
                os.chown(copy, *self.owner)
            binds.append(Bind(source=copy, target=file.target))
        return binds

    @property
    def _withheld(self) -> str:
        """Say what setup does without, and how it would get it."""
        network = parse_network(self.recipe.setup_network)
        if network.closed or not self.settings.withheld:
            return ""
        places = ", ".join(self.settings.withheld)
        return (
            f"setup does without this machine's package credentials ({places}); "
            "once you trust this commit, --lend-setup-secrets lends them"
        )

    async def _commands(self, sandbox: Sandbox, events: EventSink) -> None:
        if self._withheld:
            events.emit(Noted(text=self._withheld))
        deadline = time.monotonic() + self.recipe.setup_seconds
        word = "setup" if self.seed is None else "maintenance"
        for number, script in enumerate(self._scripts, start=1):
            detail = f"{word} {number} of {len(self._scripts)}"
            events.emit(PhaseChanged(phase="preparing", detail=detail))
            result = await self._command(sandbox, f"{word}-{number}", script, deadline, events)
            if result.exit_code != 0 or result.limit:
                raise _failure(script, result, self.recipe, self._withheld)

    async def _command(
        self, sandbox: Sandbox, name: str, script: str, deadline: float, events: EventSink
    ) -> CommandResult:
        events.emit(CommandStarted(command_id=name, command=script, purpose="setup"))

        def output(stream: Stream, piece: bytes) -> None:
            text = piece.decode("utf-8", "replace")
            events.emit(CommandOutput(command_id=name, stream=stream, text=text))

        seconds = max(0.1, deadline - time.monotonic())
        result = await sandbox.run(Command(script=script, seconds=seconds), output)
        events.emit(
            CommandEnded(
                command_id=name, exit_code=result.exit_code, seconds=result.seconds, limit=result.limit
            )
        )
        if result.limit is not None:
            events.emit(LimitHit(limit=result.limit, detail=script[:200]))
        return result


def keep_created(layer: Path, tracked: Iterable[str]) -> None:
    """Leave in `layer` only what is not tracked: no file of the commit, no whiteout, nothing of git."""
    files = set(tracked)
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    for path, directories, found, handle in os.fwalk(layer, topdown=False, follow_symlinks=False):
        below = Path(path).relative_to(layer)
        for name in found + directories:
            state = stat_at(handle, name)
            if state is None:
                continue
            known = str(below / name) in files or str(below / name) in folders
            if is_git(name) and below == Path():
                remove_tree(Path(path) / name)
            elif name in found and (known or is_whiteout(handle, name, state)):
                os.unlink(name, dir_fd=handle)
            elif name in directories and known:
                _remove_if_empty(handle, name)


def _remove_if_empty(directory: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError:
        return


def _failure(script: str, result: CommandResult, recipe: Recipe, withheld: str) -> SetupError:
    printed = (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace")
    lines = [line for line in printed.splitlines() if line.strip()][-_TAIL_LINES:]
    how = f"hit the limit {result.limit}" if result.limit else f"ended with exit code {result.exit_code}"
    hint = "Write `setup` into .overnight.toml to say how this repository is installed; [] means not at all."
    if recipe.setup_network == "none":
        hint = 'Setup ran without network: setup_network = "open" in .overnight.toml allows it. ' + hint
    elif recipe.setup_network != "open":
        hint = f"Setup could reach {recipe.setup_network} only; the log lists what was blocked. {hint}"
    if withheld:
        hint = f"{withheld[0].upper()}{withheld[1:]}. {hint}"
    return SetupError("\n".join([f"Setup failed: `{script}` {how}.", *lines]), hint)
