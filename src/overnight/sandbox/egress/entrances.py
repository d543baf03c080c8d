"""The doors of the proxy, one for each port that a sandbox can knock at."""

import asyncio

from overnight.domain.hostnames import Host
from overnight.domain.network import NOT_ALLOWED
from overnight.sandbox.egress import dns, tunnels
from overnight.sandbox.egress.gate import Flow, Gate
from overnight.sandbox.egress.heads import parse
from overnight.sandbox.egress.refusal import Refused, Unreachable
from overnight.sandbox.egress.requests import Requests
from overnight.sandbox.egress.wire import SocketWire

_MAX_SOCKS_4 = 512
_CONNECT = 1
# Replies of SOCKS 5 (RFC 1928, section 6) and of SOCKS 4.
_DONE, _NOT_ALLOWED, _UNREACHABLE, _NO_SUCH_COMMAND = 0, 2, 4, 7
_DONE_4, _REJECTED_4 = 90, 91


async def http_proxy(gate: Gate, flow: Flow, client: SocketWire) -> None:
    """Port 3128: requests with absolute targets, and CONNECT."""
    flow.about("", 0, "")
    wanted = await Requests(gate, flow, client, proxy=True).serve()
    if wanted is None:
        return
    host, port, early = wanted
    client.unread(early)
    host = _named(gate, host)
    answered = False

    async def granted() -> None:
        nonlocal answered
        answered = True
        await client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    try:
        await tunnels.connect(gate, flow, client, host, port, granted)
    except (Refused, Unreachable) as error:
        if not answered:
            refused = isinstance(error, Refused)
            said = "does not allow this:" if refused else "allows this, but"
            body = f"Overnight {said} {error}.\n"
            status = "403 Blocked" if refused else "502 Bad Gateway"
            await client.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body.encode())}\r\n"
                f"Connection: close\r\n\r\n{body}".encode()
            )
        raise


async def web(gate: Gate, flow: Flow, client: SocketWire) -> None:
    """Port 80: requests to whom `Host` names."""
    address = client.dialled()
    flow.about(gate.names.name_of(address) or address, tunnels.HTTP_PORT, "")
    await Requests(gate, flow, client, port=tunnels.HTTP_PORT).serve()


async def tls(gate: Gate, flow: Flow, client: SocketWire) -> None:
    """Port 443: TLS to whom the ClientHello names."""
    await tunnels.capture(gate, flow, client)


async def questions(gate: Gate, flow: Flow, client: SocketWire) -> None:
    """Port 53: DNS over TCP, each message behind its length."""
    while True:
        size = int.from_bytes(await _exactly(client, 2))
        query = await _exactly(client, size)
        flow.touch()
        # One connection may carry questions without end; those by datagram are counted as they come.
        await asyncio.sleep(gate.ledger.turn())
        reply = resolve(gate, query)
        if not reply:
            return
        await client.write(len(reply).to_bytes(2) + reply)


def resolve(gate: Gate, query: bytes) -> bytes:
    """Return the answer to a DNS query, and record the names that are not allowed."""

    def note(name: str) -> None:
        gate.ledger.blocked(name, 0, "DNS", NOT_ALLOWED, gate.ledger.command)

    return dns.answer(query, gate.policy.names, gate.names, note)


async def socks(gate: Gate, flow: Flow, client: SocketWire) -> None:
    """Port 1080: SOCKS 5 and 4a, connections only."""
    flow.about("", 0, "CONNECT")
    version = await _exactly(client, 1)
    if version == b"\x05":
        await _socks_5(gate, flow, client)
    elif version == b"\x04":
        await _socks_4(gate, flow, client)
    else:
        raise Refused("not SOCKS")


async def _socks_5(gate: Gate, flow: Flow, client: SocketWire) -> None:
    methods = await _exactly(client, (await _exactly(client, 1))[0])
    if 0 not in methods:
        await client.write(b"\x05\xff")
        raise Refused("malformed SOCKS: wants to sign in")
    await client.write(b"\x05\x00")
    answered = False

    async def reply(code: int) -> None:
        nonlocal answered
        answered = True
        await client.write(bytes((5, code, 0, 1)) + bytes(6))

    async def granted() -> None:
        await reply(_DONE)

    _, command, _, kind = await _exactly(client, 4)
    try:
        name = await _address(client, kind)
        port = int.from_bytes(await _exactly(client, 2))
        flow.about(name, port, "CONNECT")
        if command != _CONNECT:
            await reply(_NO_SUCH_COMMAND)
            raise Refused("SOCKS: only connections")
        host = _named(gate, parse(name))
        await tunnels.connect(gate, flow, client, host, port, granted)
    except (Refused, Unreachable) as error:
        if not answered:
            await reply(_NOT_ALLOWED if isinstance(error, Refused) else _UNREACHABLE)
        raise


async def _address(client: SocketWire, kind: int) -> str:
    """Return the host of a SOCKS 5 request, as it was sent."""
    if kind == 3:
        return (await _exactly(client, (await _exactly(client, 1))[0])).decode("latin-1")
    if kind == 1:
        return ".".join(str(byte) for byte in await _exactly(client, 4))
    if kind == 4:
        packed = await _exactly(client, 16)
        return ":".join(packed[place : place + 2].hex() for place in range(0, 16, 2))
    raise Refused("malformed SOCKS: kind of address")


async def _socks_4(gate: Gate, flow: Flow, client: SocketWire) -> None:
    command, *rest = await _exactly(client, 7)
    port = rest[0] << 8 | rest[1]
    address = ".".join(str(byte) for byte in rest[2:])
    await _until_nul(client)
    by_name = rest[2:5] == [0, 0, 0] and rest[5] != 0
    name = (await _until_nul(client)).decode("latin-1") if by_name else address
    flow.about(name, port, "CONNECT")
    answered = False

    async def reply(code: int) -> None:
        nonlocal answered
        answered = True
        await client.write(bytes((0, code)) + bytes(6))

    async def granted() -> None:
        await reply(_DONE_4)

    try:
        if command != _CONNECT:
            raise Refused("SOCKS: only connections")
        await tunnels.connect(gate, flow, client, _named(gate, parse(name)), port, granted)
    except (Refused, Unreachable):
        if not answered:
            await reply(_REJECTED_4)
        raise


def _named(gate: Gate, host: Host) -> Host:
    """Return the host that an address of ours stands for; any other stays what it is."""
    name = gate.names.name_of(host.text) if host.address is not None else None
    return parse(name) if name is not None else host


async def _exactly(client: SocketWire, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await client.read(count - len(data))
        if not piece:
            raise ConnectionResetError("cut short")
        data += piece
    return data


async def _until_nul(client: SocketWire) -> bytes:
    data = b""
    while len(data) <= _MAX_SOCKS_4:
        byte = await _exactly(client, 1)
        if byte == b"\0":
            return data
        data += byte
    raise Refused("malformed SOCKS: too long")
