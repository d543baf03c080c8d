"""One sandbox's gate: policy, limits, dialer and authority together, and the record of every flow."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from overnight.domain.hostnames import Host
from overnight.domain.network import Policy, Verdict
from overnight.domain.task import Limits
from overnight.sandbox.egress.dialing import Dialer
from overnight.sandbox.egress.dns import Names
from overnight.sandbox.egress.ledger import Ledger
from overnight.sandbox.egress.refusal import Refused, Unreachable
from overnight.sandbox.egress.substitution import Substitution
from overnight.sandbox.egress.wire import SocketWire, TlsWire


class Signer(Protocol):
    """Who programs inside take for every host whose requests must be read."""

    def context(self, host: Host) -> ssl.SSLContext:
        """Return what a server needs to answer as `host`."""
        ...


class Inner(msgspec.Struct, frozen=True):
    """A name that leads to a part of this very process, and nowhere else."""

    host: str
    connect: Callable[[], socket.socket]
    """Returns one end of a connection, whose other end is served."""


class Flow:
    """One flow while it lasts: who is asked, how many bytes went each way, and that something moves."""

    def __init__(self, ledger: Ledger, bound: asyncio.Timeout, seconds: float) -> None:
        self.host = ""
        self.port = 0
        self.method = ""
        self.command = ledger.command
        self.bytes_up = 0
        self.bytes_down = 0
        self.reached = False
        """Whether the host was dialled, so that there is something to record as allowed."""
        self.inward = False
        """Whether it leads into this process: then it leaves the machine not at all, and is not counted."""
        self._ledger = ledger
        self._bound = bound
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._touched = self._loop.time()

    def about(self, host: str, port: int, method: str) -> None:
        """Say what the flow is about, before it is judged."""
        self.host, self.port, self.method = host, port, method

    def up(self, size: int) -> None:
        """Count bytes that are about to go out."""
        if not self.inward:
            self._ledger.up(size)
        self.bytes_up += size
        self.touch()

    def down(self, size: int) -> None:
        """Count bytes that came."""
        self.bytes_down += size
        self.touch()

    def touch(self) -> None:
        """Note that something moves."""
        now = self._loop.time()
        if now - self._touched > self._seconds / 20:
            self._touched = now
            self._bound.reschedule(now + self._seconds)

    def done(self) -> None:
        """Record a request that was let through, and begin counting anew."""
        if not self.inward:
            self._ledger.allowed(
                self.host, self.port, self.method, self.bytes_up, self.bytes_down, self.command
            )  # fmt: skip
        self.bytes_up = self.bytes_down = 0
        self.reached = False
        self.command = self._ledger.command


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What every flow of a sandbox passes."""

    policy: Policy
    limits: Limits
    ledger: Ledger
    dialer: Dialer
    substitution: Substitution
    authority: Signer | None
    upstream: Callable[[], ssl.SSLContext]
    """How hosts prove who they are: by this machine's roots."""
    names: Names = field(default_factory=Names)
    inner: Inner | None = None
    """Where it leads is decided here, before anybody could look its name up."""

    @contextlib.asynccontextmanager
    async def flow(self) -> AsyncGenerator[Flow]:
        """Judge, bound and record what happens in the body; a refusal is recorded and ends it."""
        seconds = self.limits.egress_idle_seconds
        flow: Flow | None = None
        try:
            async with asyncio.timeout(seconds) as bound:
                flow = Flow(self.ledger, bound, seconds)
                try:
                    yield flow
                except Refused as refused:
                    self.block(flow, refused.reason)
                    raise
        except TimeoutError:
            self.ledger.hit(
                "egress_idle_seconds", f"a connection to {flow.host or 'nowhere'}" if flow else ""
            )
        finally:
            if flow is not None and flow.reached:
                flow.done()

    def block(self, flow: Flow, reason: str) -> None:
        """Record that what the flow is about was refused."""
        self.ledger.blocked(flow.host, flow.port, flow.method, reason, flow.command)

    def judge(self, flow: Flow, host: Host, port: int, method: str) -> Verdict:
        """Return what the policy says of a connection.

        Raises:
            Refused: it says no.
        """
        flow.about(host.text, port, method)
        verdict = self.policy.connection(host, port)
        if not verdict.allowed:
            raise Refused(verdict.reason)
        self.count(flow, host)
        return verdict

    def count(self, flow: Flow, host: Host) -> None:
        """Count a connection or request that leaves the machine.

        Raises:
            LimitReached: there were too many.
        """
        flow.inward = self.inner is not None and host.text == self.inner.host
        if not flow.inward:
            self.ledger.request()

    def reads(self, host: Host, port: int, verdict: Verdict) -> bool:
        """Tell whether the requests of a connection must be read."""
        return verdict.inspect or self.substitution.wants(host.text, port)

    async def reach(self, flow: Flow, host: Host, port: int, *, private: bool) -> SocketWire:
        """Return a connection to a host that was judged.

        Raises:
            Refused: its name leads where none may lead.
            Unreachable: it does not answer.
        """
        if self.inner is not None and host.text == self.inner.host:
            flow.inward = flow.reached = True
            return SocketWire(self.inner.connect())
        try:
            connection = await self.dialer.dial(host, port, private=private)
        except Unreachable:
            flow.reached = True  # let through, with nothing in it
            raise
        flow.reached = True
        flow.touch()
        return SocketWire(connection)

    async def secured(self, wire: SocketWire, host: Host) -> TlsWire:
        """Return TLS over `wire` with a host that has proved who it is.

        Raises:
            Unreachable: it could not.
        """
        tls = TlsWire(wire, self.upstream(), host.text)
        try:
            await tls.handshake()
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "no TLS"
            raise Unreachable(f"{host.text}: {reason}") from None
        return tls
