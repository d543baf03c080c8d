"""A place to try a sandbox in, for the conformance suite: fresh workspaces, and eyes on the host's side."""

import asyncio
import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from overnight.domain.errors import OvernightError
from overnight.domain.limits import Limits
from overnight.sandbox.interface import (
    Bind,
    Command,
    CommandResult,
    Egress,
    OnLimit,
    Sandbox,
    SandboxBackend,
    SandboxSpec,
)

_APPEARING_SECONDS = 120.0


class ConformanceError(OvernightError):
    """A sandbox does not hold what it must."""


class NotApplicable(Exception):  # noqa: N818  no error
    """A case says nothing about this backend, for the reason given."""


def expect(true: bool, what: str, result: CommandResult | None = None) -> None:
    """Raise `ConformanceError` with `what` and what was seen, unless `true`."""
    if not true:
        raise ConformanceError(f"{what}: {result}" if result is not None else what)


@dataclass
class Room:
    """A place to try a backend in.

    Args:
        backend: the sandbox under test.
        folder: an empty directory of the caller's, removed by the caller.
        secret: a value that is in the caller's environment and must not be seen.
    """

    backend: SandboxBackend
    folder: Path
    secret: str = ""
    lower: Path = field(init=False)
    upper: Path = field(init=False)

    def open(
        self,
        limits: Limits | None = None,
        binds: tuple[Bind, ...] = (),
        variables: dict[str, str] | None = None,
        scratch: bool = False,
        network: Literal["none", "host", "egress"] = "none",
        egress: Egress | None = None,
        host_writes: Callable[[], int] | None = None,
        on_limit: OnLimit | None = None,
    ) -> Sandbox:
        """Return a sandbox over a fresh workspace with `kept.txt`, `gone.txt` and `folder/inner.txt`."""
        place = self.folder / uuid.uuid4().hex[:8]
        self.lower, self.upper, work = place / "lower", place / "upper", place / "work"
        for path in (self.lower / "folder", self.upper, work):
            path.mkdir(parents=True)
        for name in ("kept.txt", "gone.txt", "folder/inner.txt"):
            (self.lower / name).write_text("base\n")
        if not self.backend.overlay:
            shutil.copytree(self.lower, self.upper, dirs_exist_ok=True)
        if self.backend.owner is not None:
            for path in (place, *place.rglob("*")):
                os.chown(path, *self.backend.owner)
        return self.backend.open(
            SandboxSpec(
                lower=(self.lower,) if self.backend.overlay else (),
                upper=self.upper,
                work=work if self.backend.overlay else None,
                binds=binds,
                variables=variables or {},
                scratch=place / "scratch" if scratch else None,
                tools=("python3",),
                network=network,
                egress=egress,
                host_writes=host_writes,
                limits=limits or Limits(command_seconds=30),
                on_limit=on_limit,
            )
        )

    async def run(self, script: str, limits: Limits | None = None) -> CommandResult:
        """Run a script in a fresh workspace and close its sandbox."""
        sandbox = self.open(limits)
        try:
            return await sandbox.run(Command(script=script))
        finally:
            await sandbox.close()

    async def until_lives(self, token: str, what: str) -> None:
        """Wait for a process whose command line holds `token`: while it executes a program it has none."""
        until = time.monotonic() + _APPEARING_SECONDS
        while not host_processes(token):
            expect(time.monotonic() < until, what)
            await asyncio.sleep(0.005)


def needs_overlay(room: "Room") -> None:
    """Say that a case is about overlays, which the backend may not have."""
    if not room.backend.overlay:
        raise NotApplicable(f"{room.backend.name} has no overlays: its workspaces are copies")


async def expect_confined_processes(room: "Room") -> None:
    """Make sure that no process of the host is in reach, before a case signals whatever it can."""
    if room.backend.name == "none":
        raise NotApplicable("nothing holds it back")
    seen = await room.run("ls -d /proc/[0-9]* | wc -l; id -u")
    count, uid = map(int, seen.stdout.split())
    expect(count < 10 and uid != 0, "processes of the host are out of reach", seen)


def host_processes(token: str) -> list[int]:
    """Return the pids, as the host sees them, whose command line holds `token`."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if token.encode() in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
    return found
