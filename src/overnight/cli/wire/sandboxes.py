"""Sandboxes: the backends by kind, each tried on this machine once."""

from pathlib import Path
from typing import get_args

from overnight.cli.settings import Settings
from overnight.domain.errors import UsageError
from overnight.domain.network import Network
from overnight.environments.egress import check_reach
from overnight.sandbox.choose import SandboxKind, choose
from overnight.sandbox.examination import Examination, examine
from overnight.sandbox.interface import SandboxBackend

SANDBOXES: dict[str, SandboxKind] = {kind: kind for kind in get_args(SandboxKind)}
"""What `--sandbox` takes."""


class Sandboxes:
    """The sandbox backends of one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, SandboxBackend] = {}

    async def open(self, kind: str) -> SandboxBackend:
        """Return the sandbox backend of that kind, tried on this machine.

        Raises:
            UsageError: there is no such kind.
            SandboxUnavailableError: it does not work here; the hint says what to install or enable.
        """
        if kind not in SANDBOXES:
            raise UsageError(f"There is no sandbox {kind!r}", f"Use one of: {', '.join(SANDBOXES)}")
        if kind not in self._open:
            rustup = self._settings.environment.get("RUSTUP_HOME", "")
            self._open[kind] = await choose(
                SANDBOXES[kind],
                state=self._settings.data / "sandbox",
                search=self._settings.environment.get("PATH", ""),
                home=self._settings.home,
                rustup=Path(rustup) if rustup.startswith("/") else None,
            )
        return self._open[kind]

    async def open_for(self, kind: str, network: Network) -> SandboxBackend:
        """Return the backend of that kind, which can hold what `network` grants.

        Raises:
            UsageError: it cannot, or there is no such kind.
            SandboxUnavailableError: it does not work here.
        """
        backend = await self.open(kind)
        check_reach(network, backend)
        return backend

    async def examinations(self) -> list[Examination]:
        """Return how each sandbox does on this machine, the one that is preferred first."""
        return [await examine(kind, self.open) for kind in SANDBOXES if kind != "auto"]
