"""Where sandboxes come from: the zygote, and a few that it made ahead."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
from pathlib import Path

import overnight
from overnight.domain.errors import SandboxUnavailableError
from overnight.domain.task import Limits
from overnight.sandbox.cgroup import Cgroup, create_cgroup
from overnight.sandbox.native import messages
from overnight.sandbox.native.identities import Identities, Identity
from overnight.sandbox.native.inside import Inside
from overnight.sandbox.native.mounts import MapRefusedError, close_all
from overnight.sandbox.native.plan import Plan

_REFRESH_SECONDS = 20.0
_SAYING_SECONDS = 0.02
_KINDS = 4
"""Of so many kinds sandboxes are held ready: those that were last asked for."""
_PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from overnight.sandbox.native.zygote import main
main({descriptor})
"""


class Born:
    """A sandbox without files of an attempt yet, in its control group if there is one."""

    def __init__(self, inside: Inside, identity: Identity | None = None) -> None:
        self.inside = inside
        self.cgroup: Cgroup | None = None
        self.identity = identity
        """The user that it has to itself; None where it shares one."""
        self.ahead = False
        """Whether it was made before it was asked for, and so may have died meanwhile."""
        self.spent: list[int] = []
        """Descriptors to be closed when there is time."""

    def close(self) -> None:
        """End it and leave nothing."""
        close_all(self.spent)
        if self.inside.unclaimed:
            self.inside.catch_up()  # to know which process it is
        self.inside.close()
        self.give_back_identity()
        if self.cgroup is not None:
            self.cgroup.remove()

    def give_back_identity(self) -> None:
        """Let another sandbox have its user, once it ended; safe to call again."""
        identity, self.identity = self.identity, None
        if identity is not None:
            identity.give_back(ended=self.inside.dead)

    async def users(self) -> int | None:
        """Return the map that shows files as its user's; None where it shares one user with others.

        Raises:
            SandboxUnavailableError: it could not be made.
            MapRefusedError: the kernel makes no map.
        """
        if self.identity is None:
            return None
        if self.identity.users is None:
            self.identity.users = await self.inside.take_map()
        if self.identity.users is None:
            raise MapRefusedError(errno.EPERM, "the kernel makes no map of users")
        return self.identity.users


class Nursery:
    """Makes sandboxes by way of a zygote, which is started when the first is asked for.

    Args:
        python: the interpreter that the zygote runs with.
        grouped: whether sandboxes get control groups.
        ahead: how many sandboxes to hold ready of each kind that was asked for.
        identities: users for sandboxes to have to themselves; None where all share one.
    """

    def __init__(
        self, python: Path, *, grouped: bool, ahead: int, identities: Identities | None = None
    ) -> None:
        self._python = python
        self._grouped = grouped
        self._ahead = ahead
        self._zygote: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._identities = identities
        self._ready: dict[tuple[str, bool], list[Born]] = {}
        self._over = False

    def take(self, base: Plan, *, apart: bool) -> Born:
        """Return a sandbox of the kind that `base` describes: one made ahead, or a new one.

        Args:
            apart: with a user of its own.

        Raises:
            SandboxUnavailableError: the zygote cannot be started, or no user is left.
        """
        ready = self._ready.get((base["kind"], apart), [])
        while ready:
            born = ready.pop(0)
            born.inside.catch_up()
            if not born.inside.gone:
                born.ahead = True
                return born
            born.close()
        return self._make(base, apart=apart, ahead=False)

    def refill(self, base: Plan, apart: bool) -> None:
        """Have sandboxes made ahead until there are enough; does not wait for them."""
        ready = self._ready.pop((base["kind"], apart), [])
        self._ready[base["kind"], apart] = ready  # the last of them
        while len(self._ready) > _KINDS:
            for born in self._ready.pop(next(iter(self._ready))):
                born.close()
        with contextlib.suppress(SandboxUnavailableError):
            while not self._over and len(ready) < self._ahead:
                ready.append(self._make(base, apart=apart, ahead=True))
        # What they say meanwhile need not be read when they are wanted.
        loop = asyncio.get_running_loop()
        for born in ready:
            loop.call_later(_SAYING_SECONDS, born.inside.catch_up)

    def _make(self, base: Plan, *, apart: bool, ahead: bool) -> Born:
        identity = self._identities.take() if apart and self._identities is not None else None
        kuid = None if identity is None else identity.number
        maps = identity is not None and identity.users is None
        ours, theirs = messages.pair()
        born = Born(Inside(ours, maps=maps), identity)
        try:
            self._ask({**base, "ahead": ahead, "kuid": kuid, "map": maps}, [theirs.fileno()])
            # The zygote is at work meanwhile; its child waits to be let in.
            if self._grouped:
                born.cgroup = create_cgroup(Limits())
            with contextlib.ExitStack() as opened:
                files = born.cgroup.entrances if born.cgroup is not None else []
                groups = [opened.enter_context(open(file, "wb", buffering=0)).fileno() for file in files]  # noqa: PTH123
                born.inside.enter(groups)
        except (OSError, SandboxUnavailableError) as error:
            born.close()
            if isinstance(error, SandboxUnavailableError):
                raise
            raise SandboxUnavailableError(f"The sandbox's zygote does not answer: {error}") from error
        finally:
            theirs.close()
        return born

    def refresh(self, namespaces: list[int], path: str) -> bool:
        """Have the mount at `path` in a sandbox look at the host's files anew; say whether it did.

        Args:
            namespaces: the sandbox's user and mount namespaces.
        """
        ours, theirs = messages.pair()
        with ours:
            try:
                ours.settimeout(_REFRESH_SECONDS)
                self._ask({"refresh": path}, [theirs.fileno(), *namespaces])
                theirs.close()
                return messages.receive(ours) is not None
            except (OSError, ValueError, SandboxUnavailableError):
                return False
            finally:
                theirs.close()

    def _ask(self, plan: Plan, descriptors: list[int]) -> None:
        """Send a request, to a new zygote if the old one is gone."""
        if self._channel is not None:
            try:
                messages.send(self._channel, plan, descriptors)
            except OSError:
                self.close()
            else:
                return
        self._start()
        assert self._channel is not None
        messages.send(self._channel, plan, descriptors)

    def _start(self) -> None:
        ours, theirs = messages.pair()
        said = os.memfd_create("zygote", os.MFD_CLOEXEC)
        root = Path(overnight.__file__).parent.parent
        program = _PROGRAM.format(root=str(root), descriptor=theirs.fileno())
        try:
            self._zygote = subprocess.Popen(
                [self._python, "-I", "-S", "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                pass_fds=(theirs.fileno(),),
                env={},
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            )
            theirs.close()
            if messages.receive(ours) is None:
                self._zygote.wait()
                os.lseek(said, 0, os.SEEK_SET)
                lines = os.read(said, 65536).decode(errors="replace").strip().splitlines()
                raise SandboxUnavailableError(
                    f"The sandbox's zygote did not start: {lines[-1] if lines else 'no word'}"
                )
        except (OSError, SandboxUnavailableError) as error:
            ours.close()
            if isinstance(error, SandboxUnavailableError):
                raise
            raise SandboxUnavailableError(f"The sandbox's zygote did not start: {error}") from error
        finally:
            theirs.close()
            os.close(said)
        self._channel = ours

    def shut(self) -> None:
        """End the zygote for good: nobody will ask for another sandbox."""
        self._over = True
        self.close()

    def close(self) -> None:
        """End the zygote and every sandbox that came from it; the next one asked for starts another."""
        for ready in self._ready.values():
            while ready:
                ready.pop().close()
        if self._identities is not None:
            self._identities.let_go()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._zygote is not None:
            self._zygote.wait()
            self._zygote = None
