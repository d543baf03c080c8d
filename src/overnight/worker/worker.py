"""The worker: claims the jobs of a task as far as the machine has room, holds their leases, runs them."""

import asyncio
import contextlib

from overnight.domain.commands import STOPS, CommandKind
from overnight.domain.errors import StaleLeaseError
from overnight.store import commands, jobs
from overnight.store.jobs import Job
from overnight.worker.attempt import carry_out
from overnight.worker.engine import Engine
from overnight.worker.owner import is_alive
from overnight.worker.waiting import Left

POLL_SECONDS = 0.2
"""How often a full machine is asked again for room; other processes free it, so nobody can tell us."""
LISTEN_SECONDS = 0.25
"""How often the commands of people are looked for that cut work off, for all attempts at once."""


class _Held:
    """An attempt that this process works on, and what a person wants of it by now."""

    work: asyncio.Task[Left]
    stop: CommandKind | None = None


class Worker:
    """Runs jobs in this process. One task's, as `overnight run` does it without a server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, _Held] = {}
        """By attempt."""
        self._failures: list[BaseException] = []

    async def run_task(self, task_id: str) -> None:
        """Carry out every job of the task that is claimable, side by side; return when none is left.

        Attempts that wait for a person are left waiting.

        Cancelling this stops the attempts where they are and gives their leases back, so that
        `overnight task resume` can go on from the last finished step.

        Raises:
            OvernightError: an attempt could not be brought to an end, not even to a failed one.
        """
        await self._bury_the_dead()
        listening = asyncio.create_task(self._listen(), name="commands")
        listening.add_done_callback(self._deaf)
        try:
            while True:
                if self._failures:
                    # Not an attempt's failure but the worker's own, such as a full disk: again would loop.
                    raise self._failures[0]
                job = await self._claim(task_id)
                if job is not None:
                    self._start(job)
                    continue
                if not self._running and not await self._waiting(task_id):
                    return
                await self._one_ended()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._stop()

    async def _listen(self) -> None:
        """Cut off the work on attempts that a person wants canceled or paused."""
        engine = self._engine
        while True:
            await asyncio.sleep(LISTEN_SECONDS)
            if not self._held:
                continue
            for command in await engine.database.read(
                lambda conn: commands.pending_for(conn, engine.owner, STOPS)
            ):
                held = self._held.get(command.attempt_id)
                if held is not None and held.stop is None:
                    held.stop = command.kind
                    held.work.cancel()

    def _deaf(self, listening: asyncio.Task[None]) -> None:
        """Stop working once nobody listens any more, as when the store cannot be read."""
        if not listening.cancelled() and (error := listening.exception()) is not None:
            self._failures.append(error)

    async def _claim(self, task_id: str) -> Job | None:
        engine = self._engine
        return await engine.database.tx(
            lambda conn: jobs.claim(
                conn,
                owner=engine.owner,
                now=engine.clock.time(),
                lease_seconds=engine.lease_seconds,
                capacity=engine.capacity,
                task_id=task_id,
            )
        )

    async def _bury_the_dead(self) -> None:
        """End the leases of processes that are gone: they would take up room until they expire."""
        database, now = self._engine.database, self._engine.clock.time()
        owners = await database.read(lambda conn: jobs.owners(conn, now))
        for owner in [owner for owner in owners if not is_alive(owner)]:
            await database.tx(lambda conn, owner=owner: jobs.expire_owner(conn, owner))

    async def _waiting(self, task_id: str) -> bool:
        return await self._engine.database.read(lambda conn: jobs.pending(conn, task_id)) > 0

    def _start(self, job: Job) -> None:
        task = asyncio.create_task(self._hold(job), name=f"attempt {job.attempt_id}")
        self._running[job.id] = task
        task.add_done_callback(lambda done: self._ended(job, done))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._running.pop(job.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def _one_ended(self) -> None:
        if not self._running:
            await asyncio.sleep(POLL_SECONDS)
            return
        await asyncio.wait(
            list(self._running.values()), timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )

    async def _stop(self) -> None:
        held = list(self._running.values())
        for task in held:
            task.cancel()
        if held:
            await asyncio.gather(*held, return_exceptions=True)

    async def _hold(self, job: Job) -> None:
        """Run a job while its lease is kept alive; a person's word and a lost lease cut it off."""
        engine = self._engine
        held = _Held()
        held.work = work = asyncio.create_task(carry_out(engine, job, lambda: held.stop))
        self._held[job.attempt_id] = held
        beat = asyncio.create_task(self._beat(job, work))
        try:
            left = await asyncio.shield(work)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if work.cancelled() or work.exception() is not None:
                with contextlib.suppress(StaleLeaseError):
                    await engine.database.tx(lambda conn: jobs.release(conn, job))
                raise
            left = work.result()
        except StaleLeaseError:
            return
        finally:
            del self._held[job.attempt_id]
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
        # A turn that begins when this one has ended takes the job away.
        with contextlib.suppress(StaleLeaseError):
            if left == "ended":
                await engine.database.tx(lambda conn: jobs.finish(conn, job))
            elif left == "ready":
                await engine.database.tx(lambda conn: jobs.release(conn, job))

    async def _beat(self, job: Job, work: asyncio.Task[Left]) -> None:
        engine = self._engine
        interval = min(1.0, engine.lease_seconds / 4)
        while True:
            await asyncio.sleep(interval)
            try:
                await engine.database.tx(
                    lambda conn: jobs.beat(conn, job, engine.clock.time(), engine.lease_seconds)
                )
            except StaleLeaseError:
                work.cancel()
                return
