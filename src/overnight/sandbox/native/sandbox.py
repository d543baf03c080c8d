"""One workspace's sandbox that lasts: commands run in it one after another or side by side."""

import asyncio
import contextlib
import os
import signal
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import msgspec

from overnight.domain.errors import SandboxUnavailableError
from overnight.sandbox.guard import Guard
from overnight.sandbox.interface import WORKSPACE, Bind, Command, CommandResult, OnOutput, SandboxSpec
from overnight.sandbox.leftovers import Leftovers
from overnight.sandbox.native import syscalls
from overnight.sandbox.native.apart import Apart
from overnight.sandbox.native.inside import Ending, Inside, TakesNoCommandError
from overnight.sandbox.native.mounts import MapRefusedError, close_all, open_mount
from overnight.sandbox.native.nursery import Born, Nursery
from overnight.sandbox.native.plan import Plan, claim_plan
from overnight.sandbox.pipes import Pipes
from overnight.sandbox.running import LocalSandbox, Reins
from overnight.sandbox.stillness import held_still
from overnight.sandbox.tools import STANDARD_PATH, HostTools
from overnight.sandbox.view import make_scratch, shell_variables
from overnight.sandbox.watch import ONE_COMMAND, Watch, descendants, outcome, written_directories

_DRAIN_SECONDS = 0.25
"""How long output may still come, after a command's end, from what it left running."""
_PATIENCE_SECONDS = 0.002
"""How long output lies unread at first: most of the shortest commands have ended by then."""
_FREEZING_SECONDS = 20.0
_REFILL_SECONDS = 0.02
"""After a claim the first command goes first."""


class Means(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """What sandboxes of one backend have in common."""

    nursery: Nursery
    tools: HostTools
    base: Callable[[str, tuple[Bind, ...]], Plan]
    """Returns what all sandboxes with a network and those tools are made of."""
    owner: tuple[int, int] | None
    """Whose the files are, on disk and as seen inside."""
    privileged: bool
    apart: Apart
    bounds_processes: bool


class NamespacesSandbox(LocalSandbox):
    """See `Sandbox`. Made with its first command; made again if something inside brought it down."""

    def __init__(self, means: Means, spec: SandboxSpec) -> None:
        super().__init__(spec, side_by_side=True)
        self._means = means
        self._born: Born | None = None
        self._path = ""
        self._base: Plan = {}
        self._opening = asyncio.Lock()
        self._leftovers = Leftovers()
        self._guard = Guard(spec)
        self._workspace: int | None = None
        """The mounted workspace, where we made it ourselves."""
        self._writes = 0
        self._finalizer: weakref.finalize[[Born], NamespacesSandbox] | None = None

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Stop every process inside for as long as the context lasts."""
        born = self._born
        if born is None or born.inside.gone:
            return contextlib.nullcontext()
        if born.cgroup is not None and born.cgroup.freezes:
            return _frozen(born)
        first = born.inside.pid
        return held_still(lambda: [each for each in descendants(first) if each != first])

    async def close(self) -> None:
        """End everything that still runs inside; nothing is left of it."""
        await self._guard.leave()
        await self._leftovers.close()
        if self._born is not None:
            self._born.inside.end()
        await super().close()

    async def _shut(self) -> None:
        async with self._opening:
            await self._end()

    async def _end(self) -> None:
        born, self._born = self._born, None
        if born is not None:
            await self._give_back(born)

    async def _give_back(self, born: Born) -> None:
        close_all(born.spent)
        if self._workspace is not None:
            os.close(self._workspace)
            self._workspace = None
        if self._finalizer is not None:
            self._finalizer.detach()
        born.inside.end()
        await born.inside.wait()
        born.give_back_identity()
        if born.cgroup is not None:
            await asyncio.to_thread(born.cgroup.remove)

    async def _open(self) -> tuple[Born, bool]:
        """Return the live sandbox, and whether it was made now because there was none.

        That one has its claim and may be given a command, but has not answered yet.
        """
        async with self._opening:
            if self._born is not None and not self._born.inside.gone:
                await self._born.inside.settled()
                return self._born, False
            await self._end()
            means, spec = self._means, self._spec
            if spec.network == "egress" and spec.egress is None:
                raise SandboxUnavailableError("A network of `egress` needs somebody who answers on it.")
            tools = means.tools.find(spec.tools)
            self._base = base = means.base(spec.network, tools.binds)
            self._path = ":".join((*spec.path, *tools.path, *STANDARD_PATH))
            if spec.scratch is not None:
                make_scratch(spec.scratch, means.owner)
            binds = spec.egress.binds if spec.egress is not None else ()
            plan = claim_plan(spec, binds, bound_processes=means.bounds_processes)
            apart = means.apart.possible(spec.upper)
            while self._born is None:
                born = means.nursery.take(base, apart=apart)
                try:
                    await self._claim(born, plan)
                except MapRefusedError as error:
                    means.apart.refused(spec.upper, error)
                    apart = False
                except SandboxUnavailableError:
                    if not born.ahead:
                        raise
            return self._born, True

    async def _claim(self, born: Born, plan: Plan) -> None:
        """Make a sandbox ours; it is gone if that fails."""
        self._finalizer = weakref.finalize(self, Born.close, born)  # for one that nobody closes
        mounts: list[int] = []
        try:
            if born.cgroup is not None:
                born.cgroup.bound(self._spec.limits)
            self._writes = self._host_writes()
            privileged = self._means.privileged
            users = await born.users() if privileged else None
            born.inside.claim({**plan, "handed": privileged})
            if privileged:
                for mount in plan["mounts"]:
                    mounts.append(open_mount(mount, privileged=True, users=users, spent=born.spent))  # noqa: PERF401
                workspace = next(n for n, mount in enumerate(plan["mounts"]) if mount["target"] == WORKSPACE)
                self._workspace = os.dup(mounts[workspace])
                born.inside.hand(mounts)
        except BaseException as error:
            await self._give_back(born)
            if isinstance(error, OSError) and not isinstance(error, MapRefusedError):
                where = f"{error.filename}: " if error.filename else ""
                raise SandboxUnavailableError(
                    f"The sandbox did not start: {where}{error.strerror}"
                ) from error
            raise
        finally:
            for mount in mounts:
                os.close(mount)
        self._born = born

    async def _settle(self, born: Born) -> None:
        """Wait until a sandbox made now has answered, and do what its first command can do without."""
        await born.inside.settled()
        if self._spec.egress is not None and self._spec.network == "egress":
            # After a limit ended a sandbox, the next one's listeners take the place of its.
            self._spec.egress.serve(born.inside.take_listeners())
        asyncio.get_running_loop().call_later(
            _REFILL_SECONDS, _tidy, born, self._means.nursery, self._base, born.identity is not None
        )

    @property
    def user(self) -> tuple[int, int] | None:
        """Who its commands are, as the host sees them, while it lives; None: whoever started us."""
        identity = self._born.identity if self._born is not None else None
        return self._means.owner if identity is None else identity.owner

    def _host_writes(self) -> int:
        return 0 if self._spec.host_writes is None else self._spec.host_writes()

    async def _refresh(self) -> None:
        """Make what the host wrote beneath the mounted overlay visible inside.

        Raises:
            SandboxUnavailableError: it cannot be.
        """
        writes = self._host_writes()
        if writes == self._writes or not self._spec.lower or self._born is None:
            return
        if self._workspace is not None:
            syscalls.forget_names(self._workspace)
        else:
            namespaces, nursery = self._born.inside.namespaces, self._means.nursery
            if not await asyncio.to_thread(nursery.refresh, namespaces, WORKSPACE):
                raise SandboxUnavailableError("The workspace's files cannot be looked at anew")
        self._writes = writes

    def _variables(self, command: Command) -> Mapping[str, str]:
        egress = self._spec.egress
        return {
            **shell_variables(self._path),
            **(egress.variables if egress is not None else {}),
            **self._spec.variables,
            **command.variables,
        }

    async def _carry_out(
        self, command: Command, on_output: OnOutput | None, begun: "asyncio.Future[Reins] | None"
    ) -> CommandResult:
        again = True
        while True:
            born, made = await self._open()
            stopped = await self._guard.leave()
            await self._refresh()
            try:
                return await self._run_inside(born, made, command, on_output, begun, stopped)
            except SandboxUnavailableError as error:
                if born.ahead and born.inside.unclaimed:
                    continue  # it may have died long ago
                if not (again and isinstance(error, TakesNoCommandError)):
                    raise
                again = False

    async def _run_inside(
        self,
        born: Born,
        made: bool,
        command: Command,
        on_output: OnOutput | None,
        begun: "asyncio.Future[Reins] | None",
        stopped: str,
    ) -> CommandResult:
        inside, limits = born.inside, self._spec.limits
        seconds = self._seconds(command, waited_for=begun is None)
        with Pipes(
            command.stdin, self.user, limits.output_bytes, on_output, open_input=begun is not None,
            bytes_per_second=limits.output_bytes_per_second, patience=_PATIENCE_SECONDS,
        ) as pipes:  # fmt: skip
            group = born.cgroup
            watch = Watch(limits, seconds, pipes, written_directories(self._spec), group, fresh=made)
            started = time.monotonic()
            ending = self._send(inside, command, pipes)
            try:
                if made:
                    await self._settle(born)
                if begun is not None and not begun.done():
                    begun.set_result(_reins(inside, ending, pipes))
                await self._until_end(inside, ending, watch)
                await self._drain(pipes, ending)
            finally:
                if not ending.ended.is_set() or watch.limit is not None:
                    await _kill(inside, ending)
                inside.forget(ending)
                if ending.left and self._alone and not inside.gone:
                    self._guard.stand(inside.pid, inside.kill_all, group)
            assert ending.code is not None
            return outcome(self._spec, ending.code, watch, pipes, started, stopped)

    def _send(self, inside: Inside, command: Command, pipes: Pipes) -> Ending:
        """Have a command started; it has its streams then."""
        streams = (pipes.stdin_end, pipes.stdout_end, pipes.stderr_end)
        ending = inside.run(command.words, command.folder(), self._variables(command), streams)
        pipes.close_child_ends()
        return ending

    async def _until_end(self, inside: Inside, ending: Ending, watch: Watch) -> None:
        def kill() -> None:
            inside.kill(ending, everything=watch.limit not in ONE_COMMAND)

        await watch.until_end(ending.ended, kill, inside.pid)
        stopped = watch.limit is not None
        watch.judge(0 if ending.code is None else ending.code, self._spec)
        if stopped or ending.code is None:
            ending.code = -signal.SIGKILL

    async def _drain(self, pipes: Pipes, ending: Ending) -> None:
        """Take what was written; what is still written by processes left behind goes nowhere."""
        pipes.read_now()
        if not pipes.ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await pipes.drained()
        self._leftovers.take(pipes.hand_over())


def _tidy(born: Born, nursery: Nursery, base: Plan, apart: bool) -> None:
    """Do what can wait until the first command has begun: let mounts go, make the next sandbox."""
    close_all(born.spent)
    nursery.refill(base, apart)


def _reins(inside: Inside, ending: Ending, pipes: Pipes) -> Reins:
    return Reins(
        write=pipes.write,
        ask=lambda: inside.ask(ending),
        kill=lambda: inside.kill(ending, everything=False),
    )


async def _kill(inside: Inside, ending: Ending) -> None:
    """Make sure that a command and what it started are gone, even if we are cancelled meanwhile."""
    if inside.gone:
        return
    ending.killed.clear()
    inside.kill(ending, everything=False)
    try:
        await ending.killed.wait()
        await ending.ended.wait()
    except asyncio.CancelledError:
        inside.end()
        raise


@contextlib.asynccontextmanager
async def _frozen(born: Born) -> AsyncGenerator[None]:
    cgroup = born.cgroup
    assert cgroup is not None
    try:
        cgroup.freeze(True)
        async with asyncio.timeout(_FREEZING_SECONDS):
            while not cgroup.frozen():  # noqa: ASYNC110  the kernel tells nobody on version 1
                await asyncio.sleep(0.0005)
        yield
    except TimeoutError as error:
        raise SandboxUnavailableError("The sandbox's processes do not stand still", "Try again.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            cgroup.freeze(False)
