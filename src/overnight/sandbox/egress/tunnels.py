"""What runs inside a connection to one host: TLS to that very name, requests to be read, or plain bytes."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from overnight.domain.hostnames import Host
from overnight.domain.network import Verdict
from overnight.sandbox.egress.gate import Flow, Gate
from overnight.sandbox.egress.heads import parse
from overnight.sandbox.egress.hello import Hello, NotTlsError, read_hello
from overnight.sandbox.egress.refusal import Refused
from overnight.sandbox.egress.requests import Requests, Target
from overnight.sandbox.egress.wire import SocketWire, TlsWire, Wire

HTTP_PORT = 80
TLS_PORT = 443
_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
"""A TLS record: fatal alert, access denied."""
_HANDSHAKE = b"\x16"


async def connect(
    gate: Gate, flow: Flow, client: SocketWire, host: Host, port: int, granted: Callable[[], Awaitable[None]]
) -> None:
    """Carry a connection that a program asked a proxy for; `granted` tells it that it stands.

    Raises:
        Refused: the policy says no.
        Unreachable: the host does not answer.
    """
    verdict = gate.judge(flow, host, port, "CONNECT")
    if port == HTTP_PORT:
        await granted()
        await Requests(gate, flow, client, fixed=Target(host, port, secure=False), port=port).serve()
        return
    if gate.reads(host, port, verdict):
        await granted()
        await _read(gate, flow, client, host, port)
        return
    upstream = await gate.reach(flow, host, port, private=verdict.private)
    try:
        await granted()

        async def opening() -> bytes:
            return await _opening(client, host, port)

        await pump(flow, client, upstream, opening)
    except Refused:
        await _alert(client)
        raise
    finally:
        upstream.close()


async def capture(gate: Gate, flow: Flow, client: SocketWire) -> None:
    """Carry a TLS connection that a program believes to have with the host itself.

    Raises:
        Refused: the policy says no, or the program does not say whom it asks for.
        Unreachable: the host does not answer.
    """
    address, port = client.dialled(), TLS_PORT
    named = gate.names.name_of(address)
    flow.about(named or address, port, "TLS")
    try:
        hello = await greeting(client)
        host = parse(hello.name or address)
        flow.about(host.text, port, "TLS")
        if named is not None and host.text != named:
            raise Refused("server name does not match")
        verdict = gate.judge(flow, host, port, "TLS")
        check_name(hello, host)
        if gate.reads(host, port, verdict):
            await intercept(gate, flow, client, host, port)
            return
        await _pass(gate, flow, client, host, port, verdict)
    except Refused:
        await _alert(client)
        raise


async def _pass(gate: Gate, flow: Flow, client: SocketWire, host: Host, port: int, verdict: Verdict) -> None:
    upstream = await gate.reach(flow, host, port, private=verdict.private)
    try:
        await pump(flow, client, upstream, client.read)
    finally:
        upstream.close()


async def _read(gate: Gate, flow: Flow, client: SocketWire, host: Host, port: int) -> None:
    """Read the requests of a connection, which may be TLS or not."""
    first = await client.read()
    client.unread(first)
    if port != TLS_PORT and first[:1] != _HANDSHAKE:
        await Requests(gate, flow, client, fixed=Target(host, port, secure=False), port=port).serve()
        return
    try:
        check_name(await greeting(client), host)
        await intercept(gate, flow, client, host, port)
    except Refused:
        await _alert(client)
        raise


async def intercept(gate: Gate, flow: Flow, client: SocketWire, host: Host, port: int) -> None:
    """Answer as `host` and read the requests one by one.

    Raises:
        Refused: the program inside does not trust the attempt's authority.
    """
    if gate.authority is None:
        raise Refused("requests to this host cannot be read")
    tls = TlsWire(client, gate.authority.context(host))
    try:
        await tls.handshake()
        await Requests(gate, flow, tls, fixed=Target(host, port, secure=True), port=port).serve()
    except ssl.SSLError as error:
        flow.about(host.text, port, "TLS")
        raise Refused(f"the program broke TLS off ({error.reason or 'without a word'})"[:120]) from None
    with contextlib.suppress(OSError):
        await tls.end()


async def _opening(client: SocketWire, host: Host, port: int) -> bytes:
    """Return the first bytes that may go out: TLS names the host, and on its own port there is only TLS."""
    first = await client.read()
    if not first:
        return b""
    if port == TLS_PORT or first[:1] == _HANDSHAKE:
        client.unread(first)
        check_name(await greeting(client), host)
        return await client.read()
    return first


async def greeting(client: SocketWire) -> Hello:
    """Return what the ClientHello says that comes next; its bytes stay to be read.

    Raises:
        Refused: something else comes, or not all of it.
    """
    seen = b""
    try:
        while (hello := read_hello(seen)) is None:
            data = await client.read(4096)
            if not data:
                raise Refused("not TLS" if seen else "nothing was sent")
            seen += data
    except NotTlsError as error:
        raise Refused(str(error)) from None
    client.unread(seen)
    return hello


def check_name(hello: Hello, host: Host) -> None:
    """Refuse TLS for another host than the one that was judged.

    Raises:
        Refused: no name, another one, or a hidden one.
    """
    if hello.encrypted:
        raise Refused("encrypted server name")
    if not hello.name:
        if host.address is None:
            raise Refused("no server name")
    elif parse(hello.name) != host:
        raise Refused("server name does not match")


async def pump(flow: Flow, client: Wire, upstream: Wire, opening: Callable[[], Awaitable[bytes]]) -> None:
    """Pass bytes both ways until both have ended; `opening` returns the first ones that go out."""

    async def outward() -> None:
        data = await opening()
        while data:
            flow.up(len(data))
            await upstream.write(data)
            data = await client.read()
        await upstream.end()

    async def inward() -> None:
        while data := await upstream.read():
            flow.down(len(data))
            await client.write(data)
        await client.end()

    ways = [asyncio.create_task(outward()), asyncio.create_task(inward())]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        for way in done:
            way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _alert(client: SocketWire) -> None:
    with contextlib.suppress(OSError):
        await client.write(_DENIED)
