"""Isolation by Linux namespaces of our own making, rootless or started by root."""

import os
import platform
import sys
import weakref
from functools import cache, partial
from pathlib import Path

from overnight.sandbox.interface import SandboxSpec
from overnight.sandbox.native import landlock
from overnight.sandbox.native.nursery import Nursery
from overnight.sandbox.native.plan import base_plan
from overnight.sandbox.native.sandbox import Means, NamespacesSandbox
from overnight.sandbox.processes import counts_processes_apart
from overnight.sandbox.seccomp import seccomp_filter
from overnight.sandbox.tools import HostTools
from overnight.sandbox.view import write_etc

OWNER = (200_000, 200_000)
"""Who commands are when root starts the sandbox: a kernel uid that owns nothing of the host."""


class NamespacesBackend:
    """One lasting sandbox for each workspace; never kernel uid 0 inside.

    Args:
        tools: finds programs of the host to offer inside.
        state: a directory of ours that lasts.
        python: the interpreter for the processes that make sandboxes; the running one when None.
        ahead: sandboxes to hold ready.
    """

    name = "namespaces"
    overlay = True
    lasting = True
    networks = frozenset({"none", "host", "egress"})

    def __init__(self, tools: HostTools, state: Path, python: Path | None = None, ahead: int = 1) -> None:
        self.privileged = os.geteuid() == 0
        self.owner: tuple[int, int] | None = OWNER if self.privileged else None
        identity = self.owner or (os.geteuid(), os.getegid())
        self.etc = write_etc(state.absolute(), *identity)
        nursery = Nursery(python or Path(sys.executable), grouped=self.privileged, ahead=ahead)
        calls = seccomp_filter(platform.machine())
        self._means = Means(
            nursery=nursery,
            tools=tools,
            base=cache(partial(base_plan, identity, self.etc, calls, landlock.version() > 0)),
            owner=self.owner,
            privileged=self.privileged,
            bounds_processes=counts_processes_apart(),
        )
        weakref.finalize(self._means, nursery.shut)

    async def pin(self, image: str) -> str:
        """Return nothing: commands run the host's own programs."""
        return ""

    def open(self, spec: SandboxSpec) -> NamespacesSandbox:
        """Return a sandbox over the workspace that `spec` describes; nothing starts yet."""
        return NamespacesSandbox(self._means, spec)
