"""Isolation by Linux namespaces of our own making, rootless or started by root."""

import os
import platform
import shutil
import sys
import tempfile
import weakref
from functools import cache, partial
from pathlib import Path

from overnight.sandbox.interface import Command, SandboxSpec
from overnight.sandbox.native import landlock
from overnight.sandbox.native.apart import Apart
from overnight.sandbox.native.identities import RUNTIME
from overnight.sandbox.native.nursery import Nursery
from overnight.sandbox.native.plan import base_plan
from overnight.sandbox.native.sandbox import Means, NamespacesSandbox
from overnight.sandbox.processes import OWNER, counts_processes_apart
from overnight.sandbox.seccomp import seccomp_filter
from overnight.sandbox.tools import HostTools
from overnight.sandbox.view import write_etc


class NamespacesBackend:
    """One lasting sandbox for each workspace; never kernel uid 0 inside.

    Args:
        tools: finds programs of the host to offer inside.
        state: a directory of ours that lasts.
        python: the interpreter for the processes that make sandboxes; the running one when None.
        ahead: sandboxes to hold ready.
        runtime: where the workers of this machine agree on who has which user; with None all share one.
        grouped: whether each gets a control group, where root starts it.
    """

    name = "namespaces"
    overlay = True
    lasting = True
    networks = frozenset({"none", "host", "egress"})

    def __init__(
        self, tools: HostTools, state: Path, python: Path | None = None, ahead: int = 1,
        runtime: Path | None = RUNTIME, grouped: bool = True,
    ) -> None:  # fmt: skip
        self.privileged = os.geteuid() == 0
        self.owner: tuple[int, int] | None = OWNER if self.privileged else None
        identity = self.owner or (os.geteuid(), os.getegid())
        self.etc = write_etc(state.absolute(), *identity)
        self._state = state.absolute()
        apart = Apart(runtime if self.privileged else None)
        nursery = Nursery(
            python or Path(sys.executable),
            grouped=grouped and self.privileged,
            ahead=ahead,
            identities=apart.identities,
        )
        calls = seccomp_filter(platform.machine())
        self._means = Means(
            nursery=nursery,
            tools=tools,
            base=cache(partial(base_plan, identity, self.etc, calls, landlock.version() > 0)),
            owner=self.owner,
            privileged=self.privileged,
            apart=apart,
            bounds_processes=counts_processes_apart(),
        )
        weakref.finalize(self._means, nursery.shut)

    async def pin(self, image: str) -> str:
        """Return nothing: commands run the host's own programs."""
        return ""

    def open(self, spec: SandboxSpec) -> NamespacesSandbox:
        """Return a sandbox over the workspace that `spec` describes; nothing starts yet."""
        return NamespacesSandbox(self._means, spec)

    async def shares_user(self) -> str:
        """Run a sandbox, and return why it has no user of its own; empty where it has one.

        Raises:
            SandboxUnavailableError: it does not start.
        """
        apart = self._means.apart
        if apart.why:
            return apart.why
        folder = Path(tempfile.mkdtemp(prefix="users-", dir=self._state))
        try:
            for name in ("lower", "upper", "work"):
                (folder / name).mkdir()
                os.chown(folder / name, *OWNER)
            spec = SandboxSpec(lower=(folder / "lower",), upper=folder / "upper", work=folder / "work")
            sandbox = self.open(spec)
            try:
                await sandbox.run(Command(argv=("true",)))
            finally:
                await sandbox.close()
            return apart.why_not(folder / "upper")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
