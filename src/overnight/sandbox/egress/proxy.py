"""The proxy of one sandbox: takes what knocks at its listeners, a bounded share of it in every turn."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping

import h11

from overnight.sandbox.egress import entrances
from overnight.sandbox.egress.gate import Flow, Gate
from overnight.sandbox.egress.refusal import Refused, Unreachable
from overnight.sandbox.egress.wire import SocketWire
from overnight.sandbox.interface import Bind, Listeners

Door = Callable[[Gate, Flow, SocketWire], Awaitable[None]]

DOORS: Mapping[int, Door] = {
    53: entrances.questions,
    80: entrances.web,
    443: entrances.tls,
    1080: entrances.socks,
    3128: entrances.http_proxy,
}
_TURN = 8
"""Connections or datagrams taken before everything else in the process has its turn."""
_INFO = {
    # level, option to hear of it, kind and size of the message, where in it is the address that was asked
    socket.AF_INET: (socket.IPPROTO_IP, 8, 8, 12, 8),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 49, 50, 20, 0),
}
"""IP_PKTINFO of ip(7) and IPV6_PKTINFO of ipv6(7): the address of ours that a datagram came to."""
_FREEBIND = 78
"""IPV6_FREEBIND: lets an answer come from an address that is local by route only (linux/in6.h)."""
_MAX_COMMAND = 300
"""Characters of a command that events repeat."""
_WINDOW = 0.1
"""Seconds over which the rate is held."""


class EgressProxy:
    """Answers for one sandbox; implements `sandbox.interface.Egress`. Lives in one event loop."""

    def __init__(self, gate: Gate, variables: Mapping[str, str], binds: tuple[Bind, ...] = ()) -> None:
        self._gate = gate
        self._variables = dict(variables)
        self._binds = binds
        self._streams: dict[socket.socket, Door] = {}
        self._datagrams: list[socket.socket] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._open = False
        self._full = False
        self._taken = 0
        self._pause: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment of every command."""
        return self._variables

    @property
    def binds(self) -> tuple[Bind, ...]:
        """Files that must be visible inside."""
        return self._binds

    @property
    def gate(self) -> Gate:
        """What every flow passes."""
        return self._gate

    def serve(self, listeners: Listeners) -> None:
        """Answer on `listeners`, which are now this object's to close, until `close`.

        Called again with those of a sandbox that took the place of one that ended, it lets the old ones go.
        """
        self._loop = asyncio.get_running_loop()
        self._leave()
        self._open = True
        for port, listener in listeners.streams.items():
            listener.setblocking(False)
            # A door that we do not know stays shut: connections to it are taken by nobody.
            if port in DOORS:
                self._streams[listener] = DOORS[port]
            else:
                listener.close()
        for port, datagrams in listeners.datagrams.items():
            if port != 53:
                datagrams.close()
                continue
            datagrams.setblocking(False)
            level, option = _INFO[datagrams.family][:2]
            with contextlib.suppress(OSError):
                datagrams.setsockopt(level, option, 1)
                if datagrams.family == socket.AF_INET6:
                    datagrams.setsockopt(level, _FREEBIND, 1)
            self._datagrams.append(datagrams)
        self._listen()

    def asking(self, command: str) -> None:
        """Say which command runs now, for the events of what is asked for; empty when none does."""
        command = command[:_MAX_COMMAND]
        if command != self._gate.ledger.command:
            self._gate.ledger.flush()
        self._gate.ledger.command = command

    async def close(self) -> None:
        """Cut every connection and stop listening."""
        self._leave()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._gate.dialer.close()
        self._gate.ledger.flush()

    def _leave(self) -> None:
        """Close what is listened on and begin to cut what is connected."""
        self._open = self._full = False
        self._taken = 0
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._deafen()
        for listener in (*self._streams, *self._datagrams):
            listener.close()
        self._streams.clear()
        self._datagrams.clear()
        for connection in self._connections:
            connection.cancel()

    def _listen(self) -> None:
        assert self._loop is not None
        for listener, door in self._streams.items():
            if not self._full:
                self._loop.add_reader(listener, self._accept, listener, door)
        for datagrams in self._datagrams:
            self._loop.add_reader(datagrams, self._receive, datagrams)

    def _deafen(self) -> None:
        if self._loop is not None:
            for listener in (*self._streams, *self._datagrams):
                self._loop.remove_reader(listener)

    def _may_take(self) -> bool:
        """Count one; when there were too many within the window, hear nothing until it is over."""
        assert self._loop is not None
        limit = self._gate.limits.egress_rate
        if self._taken == 0 and self._pause is None:
            self._pause = self._loop.call_later(_WINDOW, self._begin_window)
        self._taken += 1
        if self._taken <= max(1, limit * _WINDOW):
            return True
        self._gate.ledger.hit("egress_rate", f"more than {limit} connections and queries a second")
        self._deafen()
        return False

    def _begin_window(self) -> None:
        self._pause = None
        self._taken = 0
        if self._open:
            self._listen()

    def _accept(self, listener: socket.socket, door: Door) -> None:
        for _ in range(_TURN):
            if len(self._connections) >= self._gate.limits.egress_connections:
                self._gate.ledger.hit("egress_connections", f"{len(self._connections)} at the same time")
                self._full = True
                for one in self._streams:
                    self._loop_of().remove_reader(one)
                return
            if not self._may_take():
                return
            try:
                connection, _ = listener.accept()
            except OSError:  # nobody there any more, or no descriptor left: the next turn will see
                return
            task = self._loop_of().create_task(self._carry(connection, door))
            self._connections.add(task)
            task.add_done_callback(self._ended)

    def _loop_of(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if self._full and self._open:
            self._full = False
            self._listen()

    async def _carry(self, connection: socket.socket, door: Door) -> None:
        client = SocketWire(connection)
        try:
            async with self._gate.flow() as flow:
                try:
                    await door(self._gate, flow, client)
                except (OSError, h11.ProtocolError, Unreachable):
                    return  # One side went away, or spoke no HTTP: the flow is over.
                except (Refused, asyncio.CancelledError):
                    raise
                except Exception as error:  # a mistake of ours must shut the door, not open it
                    self._gate.block(flow, f"internal error: {type(error).__name__}")
        except Refused:
            return  # recorded by the gate
        finally:
            client.close()

    def _receive(self, datagrams: socket.socket) -> None:
        for _ in range(_TURN):
            if not self._may_take():
                return
            try:
                query, ancillary, _, sender = datagrams.recvmsg(1024, 128)
            except OSError:
                return
            reply = entrances.resolve(self._gate, query)
            if reply:
                with contextlib.suppress(OSError):
                    datagrams.sendmsg([reply], _from_there(datagrams.family, ancillary), 0, sender)


def _from_there(family: int, ancillary: Iterable[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Return what makes an answer come from the address that was asked; no program takes another's."""
    level, _, kind, size, place = _INFO[socket.AddressFamily(family)]
    for found, sort, data in ancillary:
        if (found, sort, len(data)) == (level, kind, size):
            if family == socket.AF_INET:
                return [(level, kind, bytes(4) + data[place : place + 4] + bytes(4))]
            return [(level, kind, data[:16] + bytes(4))]
    return []


@functools.cache
def system_roots() -> ssl.SSLContext:
    """Return how hosts outside must prove who they are: by the roots of this machine."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
