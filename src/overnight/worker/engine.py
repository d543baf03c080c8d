"""What a worker works with: every object it needs, built at the edge and handed in."""

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from overnight.agents.interface import Agent
from overnight.blobs.store import BlobStore
from overnight.domain.ports import Clock
from overnight.environments.credentials import Divided
from overnight.environments.detect.found import Host
from overnight.environments.volumes import Volumes
from overnight.events.log import EventLog
from overnight.git.mirror import Mirror
from overnight.models.interface import Model
from overnight.sandbox.interface import SandboxBackend
from overnight.store.database import Database
from overnight.tasks.vault import Vault
from overnight.verify.base_runs import BaseRuns


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The parts of one process. Models and mirrors are opened by name, when an attempt asks for them."""

    database: Database
    log: EventLog
    blobs: BlobStore
    clock: Clock
    data: Path
    """The data directory: `snapshots/`, `workspaces/`, `base-runs/` lie in it."""
    owner: str
    """Who holds the leases of this process: `host:pid:start`."""
    capacity: int
    """How many attempts may run at the same time on this machine, over all processes."""
    agents: Mapping[str, Agent]
    open_mirror: Callable[[str], Awaitable[Mirror]]
    open_model: Callable[[str], Model]
    open_backend: Callable[[str], Awaitable[SandboxBackend]]
    clients: Divided
    """The settings of this machine's package clients, without and with credentials."""
    base_runs: BaseRuns
    """Kept runs of checks on bases; one object a process, so that attempts wait for each other's runs."""
    host: Host
    """What this machine can offer to a sandbox."""
    vault: Vault
    machine: str = ""
    """What setups depend on besides the recipe, such as the interpreter's version."""
    lease_seconds: float = 15.0
    bounded: bool = False
    """Whether workspaces lie on volumes: only where the mounts of this process end with it."""
    volumes: dict[int, Volumes] = field(default_factory=dict[int, Volumes])
    """By size: what workspaces are bounded by, kept so that some are ready."""
    tasks: set[Future[None]] = field(default_factory=set[Future[None]])
    """What runs on the side and nobody waits for."""

    async def volumes_of(self, size: int) -> Volumes | None:
        """Return the volumes of that size, some of them soon ready; None where they cannot be mounted."""
        if not self.bounded:
            return None
        volumes = self.volumes.setdefault(size, Volumes(self.data / "volumes", size))
        if not await volumes.prepare():
            return None
        filling = asyncio.ensure_future(asyncio.to_thread(volumes.fill))
        self.tasks.add(filling)
        filling.add_done_callback(self.tasks.discard)
        return volumes
