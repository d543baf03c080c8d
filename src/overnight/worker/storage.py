"""The data directory's disk: what takes it, what may go, and keeping it in bounds."""

import os
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select

from overnight.blobs.store import BlobStore
from overnight.domain.errors import OvernightError
from overnight.domain.events import ArtifactKept, CheckpointCreated, Event, HomeKept
from overnight.environments import checkpoints
from overnight.environments.layer_store import Evicted, LayerStore
from overnight.environments.workspaces import sweep
from overnight.events.lineage import checkpoint_of
from overnight.events.log import EventLog
from overnight.store import attempts, jobs, tasks
from overnight.store.database import Database
from overnight.store.schema import attempts as attempts_table

SNAPSHOT_AGE = 30 * 86_400.0
"""Seconds after which an unused snapshot goes even where there is room for it."""


class Freed(msgspec.Struct, frozen=True, kw_only=True):
    """What a prune removed, or would remove; sizes in bytes."""

    workspaces: int = 0
    snapshots_bytes: int = 0
    tasks: int = 0
    blobs: int = 0
    before_bytes: int = 0
    after_bytes: int = 0


class Storage:
    """Removes what nothing needs. What living processes hold is never touched."""

    def __init__(self, database: Database, log: EventLog, blobs: BlobStore, data: Path) -> None:
        self._database = database
        self._log = log
        self._blobs = blobs
        self._data = data

    def disk_bytes(self) -> int:
        """Return what the data directory takes on disk, in bytes."""
        return tree_bytes(self._data)

    async def make_room(self, limit: int) -> int:
        """Remove what killed processes left, then unused snapshots down to `limit`; return bytes freed."""
        self._sweep_workspaces()
        before = self.disk_bytes()
        if before <= limit:
            return 0
        freed = await self.prune(keep_bytes=limit, older_than=None, now=0.0)
        return max(0, freed.before_bytes - freed.after_bytes)

    def verify(self) -> tuple[dict[str, str], int]:
        """Read all snapshots in full and evict what is damaged.

        Returns what is wrong by layer, and how many layers were read.
        """
        layers = LayerStore(self._data / "snapshots")
        try:
            count = len(list(layers.layers()))
            return layers.verify(), count
        finally:
            layers.close()

    def evict(self, max_bytes: int | None, max_age: float | None, dry_run: bool) -> tuple[list[Evicted], int]:
        """Remove snapshots alone; return those that went, or would go, and the bytes that stay."""
        store = LayerStore(self._data / "snapshots")
        gone = store.evict(max_bytes, max_age=max_age, dry_run=dry_run)
        return gone, store.disk_bytes() - (sum(layer.bytes for layer in gone) if dry_run else 0)

    async def prune(
        self, keep_bytes: int, older_than: float | None, now: float, dry_run: bool = False
    ) -> Freed:
        """Remove abandoned workspaces, unused snapshots, old tasks and unneeded blobs.

        Snapshots go only as far as needed to come below `keep_bytes`, the longest unused first.
        `older_than` is in seconds before `now`; None keeps every task.
        """
        before = self.disk_bytes()
        old = await self._old_tasks(older_than, now)
        if dry_run:
            store = LayerStore(self._data / "snapshots")
            snapshots = min(store.disk_bytes(), max(0, before - keep_bytes))
            return Freed(
                snapshots_bytes=snapshots, tasks=len(old), before_bytes=before, after_bytes=before - snapshots
            )
        workspaces = self._sweep_workspaces()
        for task_id in old:
            await self._forget(task_id)
        blobs = await self._sweep_blobs()
        layers = LayerStore(self._data / "snapshots")
        others = self.disk_bytes() - layers.disk_bytes()
        snapshots = layers.prune(max(0, keep_bytes - others), max_age=SNAPSHOT_AGE)
        layers.close()
        return Freed(
            workspaces=workspaces,
            snapshots_bytes=snapshots,
            tasks=len(old),
            blobs=blobs,
            before_bytes=before,
            after_bytes=self.disk_bytes(),
        )

    def _sweep_workspaces(self) -> int:
        return len(sweep(self._data / "workspaces"))

    async def _old_tasks(self, older_than: float | None, now: float) -> list[str]:
        if older_than is None:
            return []
        every = await self._database.read(lambda conn: tasks.recent(conn, limit=1_000_000))
        return [task.id for task in every if task.state != "open" and task.created_at < now - older_than]

    async def _forget(self, task_id: str) -> None:
        for attempt_id in await self._database.tx(lambda conn: tasks.remove(conn, task_id)):
            await self._log.delete(attempt_id)

    async def _sweep_blobs(self) -> int:
        """Remove blobs that no patch names and that nobody may still go on from.

        An attempt may go on from its last checkpoint, an unfinished one from any, a fork from where it began.
        """
        needed: set[str] = set()
        for attempt in await self._database.read(_attempts):
            needed |= attempt.patches
            own = [item.event async for item in self._log.read(attempt.id)]
            made = [event.digest for event in own if isinstance(event, CheckpointCreated)]
            needed |= {event.digest for event in own if isinstance(event, ArtifactKept)}
            inherited = await self._inherited(attempt)
            needed |= _homes(own, every=attempt.pending) | _homes(inherited, every=False)
            kept = {checkpoint_of(own), checkpoint_of(inherited), *(made if attempt.pending else ())}
            for checkpoint in kept:
                needed |= self._objects(checkpoint or "")
        return self._blobs.sweep(needed)

    async def _inherited(self, attempt: "_Kept") -> list[Event]:
        """Return what a fork begins with."""
        if not attempt.fork:
            return []
        try:
            return await self._log.inherited(attempt.id)
        except OvernightError:
            return []  # its origin's log is gone: it cannot begin any more

    def _objects(self, checkpoint: str) -> set[str]:
        try:
            return checkpoints.objects(self._blobs, checkpoint)
        except OvernightError:
            return set()  # it cannot be restored any more: nothing to keep for it


class _Kept(msgspec.Struct, frozen=True):
    """An attempt, as far as it decides what may go."""

    id: str
    patches: set[str]
    """The blobs of the patches of all its turns."""
    pending: bool
    fork: bool


def _homes(events: list[Event], *, every: bool) -> set[str]:
    """Return what the programs of agents may take their sessions up from: the last one kept, or all."""
    digests = [event.digest for event in events if isinstance(event, HomeKept)]
    return set(digests if every else digests[-1:])


def _attempts(conn: Connection) -> list[_Kept]:
    ids = list(conn.execute(select(attempts_table.c.id)).scalars())
    turns = {attempt_id: attempts.turns_of(conn, (attempt_id,))[attempt_id] for attempt_id in ids}
    return [
        _Kept(
            attempt_id,
            {turn.patch.digest for turn in turns[attempt_id] if turn.patch is not None},
            jobs.open_of(conn, attempt_id) is not None,
            attempts.get(conn, attempt_id).forked_from is not None,
        )
        for attempt_id in ids
    ]


def tree_bytes(folder: Path) -> int:
    """Return the disk blocks that a tree takes, in bytes; what vanishes meanwhile counts nothing."""
    total = 0
    pending = [str(folder)]
    try:
        device = folder.stat().st_dev
    except OSError:
        return 0
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    try:
                        state = entry.stat(follow_symlinks=False)
                        if state.st_dev != device:
                            continue  # a workspace's volume, whose image is counted as a file
                        total += state.st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                    except OSError:
                        continue
        except OSError:
            continue
    return total
