"""Requests read one by one: each is judged by itself, written anew from what was read, and answered."""

import asyncio
import contextlib

import h11
import msgspec

from overnight.domain.hostnames import Host
from overnight.sandbox.egress import heads
from overnight.sandbox.egress.gate import Flow, Gate
from overnight.sandbox.egress.refusal import Refused, Unreachable
from overnight.sandbox.egress.wire import SocketWire, Wire

_MAX_HEAD = 64 * 1024
_LINGER_BYTES = 1024 * 1024
_LINGER_SECONDS = 2.0
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]
_BROKEN = (h11.RemoteProtocolError, h11.LocalProtocolError, OSError)


class Target(msgspec.Struct, frozen=True):
    """Whom a request is for."""

    host: Host
    port: int
    secure: bool


class Upstream(msgspec.Struct):
    """A connection to a host, between two requests to it."""

    target: Target
    socket: SocketWire
    wire: Wire
    connection: h11.Connection
    used: bool = False


class Requests:
    """The requests of one connection from inside.

    Args:
        fixed: whom the connection is for, where that was settled before (CONNECT, SOCKS, TLS); without,
            each request says so.
        proxy: whether requests are made to a proxy, with absolute targets.
        port: the port that was dialled, for requests that name none.
    """

    def __init__(
        self, gate: Gate, flow: Flow, client: Wire, *, fixed: Target | None = None, proxy: bool = False,
        port: int = 80,
    ) -> None:  # fmt: skip
        self._gate = gate
        self._flow = flow
        self._client = client
        self._fixed = fixed
        self._proxy = proxy
        self._port = port
        self._inside = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._upstream: Upstream | None = None

    async def serve(self) -> tuple[Host, int, bytes] | None:
        """Answer until the connection ends; a CONNECT to a proxy ends it with whom it is for, and what came.

        Raises:
            OSError: the connection broke.
        """
        try:
            while True:
                request = await self._next_request()
                if request is None:
                    return None
                if self._proxy and request.method == b"CONNECT":
                    host, port = heads.read_authority(request.target)
                    return host, port, self._inside.trailing_data[0]
                await self._exchange(request)
                if self._inside.our_state is not h11.DONE or self._inside.their_state is not h11.DONE:
                    return None
                self._inside.start_next_cycle()
        except Refused as refused:
            self._gate.block(self._flow, refused.reason)
            await self._refuse(403, f"Overnight does not allow this: {refused.reason}.")
            return None
        except Unreachable as error:
            await self._refuse(502, f"Overnight allows this, but {error}.")
            return None
        finally:
            self._leave()

    async def _next_request(self) -> h11.Request | None:
        try:
            event = await self._next_event(self._inside, self._client)
        except h11.RemoteProtocolError as error:
            self._flow.about(self._fixed.host.text if self._fixed else "", self._port, "")
            raise Refused(f"malformed request: {error}"[:120]) from None
        return event if isinstance(event, h11.Request) else None

    async def _next_event(self, connection: h11.Connection, wire: Wire) -> Event:
        while True:
            event = connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            if connection is self._inside and connection.they_are_waiting_for_100_continue:
                go_on = connection.send(
                    h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
                )
                await self._client.write(go_on or b"")
            data = await wire.read()
            self._flow.touch()
            connection.receive_data(data)

    def _whom(self, request: h11.Request) -> tuple[Target, bytes]:
        """Return whom a request is for and its path; every place that says so must say the same.

        Raises:
            Refused: two of them differ, or it says nothing that can be.
        """
        target = bytes(request.target)
        self._flow.about("", self._port, heads.as_text(request.method))
        if self._proxy:
            self._flow.host = heads.as_text(target)
            host, port, path = heads.absolute(target)
            found = Target(host, port, secure=False)
        else:
            if not target.startswith(b"/") and target != b"*":
                self._flow.host = heads.as_text(target)
                raise Refused("malformed request: target")
            path = target
            found = self._fixed
        default = 443 if found is not None and found.secure else 80
        said = heads.field(heads.plain(request.headers), b"host")
        if found is None:
            self._flow.host = heads.as_text(said[0]) if said else ""
            host, port = heads.authority_of(request, self._port)
            found = Target(host, port, secure=False)
            if port != self._port:
                raise Refused("host does not match the connection")
        self._flow.about(found.host.text, found.port, heads.as_text(request.method))
        if said:
            # A client that leaves the usual port out means the one it connected to.
            host, port = heads.read_authority(said[0], default if self._proxy else found.port)
            if host != found.host or port not in (found.port, default):
                self._flow.host = f"{host.text} (by way of {found.host.text})"
                raise Refused("host does not match the connection")
        elif request.http_version == b"1.1":
            raise Refused("malformed request: no host")
        return found, path

    async def _exchange(self, request: h11.Request) -> None:
        gate, flow = self._gate, self._flow
        flow.about("", self._port, heads.as_text(request.method))
        heads.refuse_two_readings(request)
        target, path = self._whom(request)
        if request.method in (b"CONNECT", b"TRACE", b"PRI"):
            raise Refused(f"method {heads.as_text(request.method)} not allowed")
        verdict = gate.policy.request(target.host, target.port, flow.method, heads.as_text(path))
        if not verdict.allowed:
            raise Refused(verdict.reason)
        if heads.wants_upgrade(request) and gate.policy.reads_only(target.host, target.port):
            raise Refused("upgrade not allowed")
        gate.count(flow, target.host)
        length = heads.field(heads.plain(request.headers), b"content-length")
        if verdict.max_bytes is not None and length and int(length[0]) > verdict.max_bytes:
            raise Refused(f"request larger than {verdict.max_bytes} bytes")
        name = heads.host_header(target.host, target.port, 443 if target.secure else 80)
        head = heads.forwarded(request, path, name)
        head = gate.substitution.put_in(target.host.text, target.port, head, secure=target.secure)
        await self._forward(request, target, head, verdict.private, verdict.max_bytes)
        flow.done()

    async def _forward(
        self, request: h11.Request, target: Target, head: heads.RequestHead, private: bool, bound: int | None
    ) -> None:
        outgoing = h11.Request(method=head.method, target=head.target, headers=list(head.headers))
        bare = not heads.field(head.headers, b"content-length") and not heads.field(
            head.headers, b"transfer-encoding"
        )
        reusable = self._upstream is not None and self._upstream.target == target
        again = reusable and bare and request.method in _REPEATABLE
        upstream = await self._reach(target, private, fresh=not again)
        response: h11.Response | None = None
        try:
            response = await self._send(upstream, outgoing, bound)
        except _BROKEN:
            if not again:
                raise Unreachable(f"{target.host.text} closed the connection") from None
        if response is None:
            # It was closed while it lay idle, which is the host's right; nothing was answered yet.
            upstream = await self._reach(target, private, fresh=True)
            try:
                response = await self._send(upstream, outgoing, bound)
            except _BROKEN:
                raise Unreachable(f"{target.host.text} closed the connection") from None
        await self._answer(upstream, response)

    async def _reach(self, target: Target, private: bool, fresh: bool) -> Upstream:
        if self._upstream is not None and not fresh:
            return self._upstream
        self._leave()
        socket = await self._gate.reach(self._flow, target.host, target.port, private=private)
        try:
            wire = await self._gate.secured(socket, target.host) if target.secure else socket
        except BaseException:
            socket.close()
            raise
        self._upstream = Upstream(target, socket, wire, h11.Connection(h11.CLIENT))
        return self._upstream

    async def _send(self, upstream: Upstream, request: h11.Request, bound: int | None) -> h11.Response:
        """Send a request with its body, and return the head of what is answered."""
        upstream.used = True
        await self._put(upstream, request)
        sent = 0
        if self._inside.their_state is h11.SEND_BODY:
            while not isinstance(
                event := await self._next_event(self._inside, self._client), h11.EndOfMessage
            ):
                if not isinstance(event, h11.Data):
                    raise Unreachable("the request was cut short")
                sent += len(event.data)
                if bound is not None and sent > bound:
                    raise Refused(f"request larger than {bound} bytes")
                await self._put(upstream, h11.Data(data=bytes(event.data)))
        await self._put(upstream, h11.EndOfMessage())
        while True:
            event = await self._next_event(upstream.connection, upstream.wire)
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise h11.RemoteProtocolError("no response")

    async def _put(self, upstream: Upstream, event: h11.Event) -> None:
        data = upstream.connection.send(event) or b""
        self._flow.up(len(data))
        await upstream.wire.write(data)

    async def _answer(self, upstream: Upstream, response: h11.Response) -> None:
        inside = self._inside
        event: Event = h11.Response(
            status_code=response.status_code, headers=heads.returned(response), reason=bytes(response.reason)
        )
        while True:
            if not isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
                raise h11.RemoteProtocolError("the response stopped")
            data = inside.send(event)
            if data:
                self._flow.down(len(data))
                await self._client.write(data)
            if isinstance(event, h11.EndOfMessage):
                break
            try:
                event = await self._next_event(upstream.connection, upstream.wire)
            except h11.RemoteProtocolError:
                # Cut short: the program inside must see that too, so no end is made up.
                inside.send_failed()
                return
            if isinstance(event, h11.EndOfMessage):
                event = h11.EndOfMessage()
        ended = upstream.connection
        if ended.our_state is h11.DONE and ended.their_state is h11.DONE:
            ended.start_next_cycle()
        else:
            self._leave()

    async def _refuse(self, status: int, text: str) -> None:
        """Say no in words, where an answer is due, and let the program read them before the end."""
        if self._inside.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{text}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        with contextlib.suppress(OSError, h11.LocalProtocolError):
            response = h11.Response(
                status_code=status, headers=headers, reason=b"Blocked" if status == 403 else b""
            )
            data = self._inside.send(response) or b""
            if self._flow.method != "HEAD":
                data += self._inside.send(h11.Data(data=body)) or b""
            await self._client.write(data + (self._inside.send(h11.EndOfMessage()) or b""))
            await self._client.end()
            # Closing with bytes unread would take the answer back.
            async with asyncio.timeout(_LINGER_SECONDS):
                left = _LINGER_BYTES
                while left > 0 and (piece := await self._client.read()):
                    left -= len(piece)

    def _leave(self) -> None:
        if self._upstream is not None:
            self._upstream.socket.close()
            self._upstream = None
