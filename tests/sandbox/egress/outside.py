"""The world outside of a sandbox, on loopback: hosts with names and certificates that note what reaches them.

Names resolve to addresses of the public internet, which are checked as in earnest; only the last step, the
connection to a checked address, leads to a server of the test's own. Nothing leaves the machine.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from overnight.domain.events import Event, LimitHit, NetworkAllowed, NetworkBlocked
from overnight.domain.hostnames import Address
from overnight.domain.network import Policy, parse_network, policy_of
from overnight.domain.task import Limits
from overnight.sandbox.egress.dialing import PinningDialer
from overnight.sandbox.egress.opening import open_egress
from overnight.sandbox.egress.proxy import EgressProxy
from overnight.sandbox.egress.refusal import Unreachable
from overnight.sandbox.egress.substitution import Substitution
from overnight.sandbox.interface import Listeners

SECONDS = 60.0
PUBLIC = "93.184.216."
TLS_PORTS = (443, 8443)
CHARGE = b"canary-of-the-outside"


@dataclass
class Request:
    """What a host outside was sent."""

    host: str
    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        """The first line."""
        return self.head.split(b"\r\n", 1)[0].decode()


@dataclass
class Outside:
    """Hosts by name, their addresses, and all that reached any of them."""

    credulous: bool = False
    """Whether every name exists, so that whatever is let through also arrives."""
    names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    lookups: list[str] = field(default_factory=list[str])
    dials: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    requests: list[Request] = field(default_factory=list[Request])
    raw: bytes = b""
    """What reached ports that speak neither HTTP nor TLS."""
    responses: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Whole responses by path; any other path is answered with the canary."""
    ports: dict[int, int] = field(default_factory=dict[int, int])
    roots: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def host(self, name: str, *addresses: str) -> None:
        """Give a name its addresses; a public one of its own by default."""
        self.names[name] = list(addresses) or [f"{PUBLIC}{len(self.names) + 1}"]

    async def resolve(self, name: str, port: int) -> list[str]:
        """Return the addresses of a name, as the machine's resolver would."""
        self.lookups.append(name)
        await asyncio.sleep(0)
        if self.credulous:
            return self.names.get(name, [f"{PUBLIC}99"])
        if name not in self.names:
            raise OSError("no such name")
        return self.names[name]

    async def connect(self, addresses: Sequence[Address], port: int) -> socket.socket:
        """Connect to the server that stands for every address."""
        self.dials.append((str(addresses[0]), port))
        if port not in self.ports:
            raise Unreachable(f"{addresses[0]} does not answer")
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.ports[port]))
        return connection

    @property
    def reached(self) -> bool:
        """Whether anything at all came out."""
        return bool(self.dials or self.requests or self.raw)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests of HTTP/1.1 until the connection ends."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
                }
                body = await _body(reader, fields)
                host = fields.get(b"host", b"").decode("latin-1")
                self.requests.append(Request(host, head, body))
                method, path = head.split(b" ", 2)[:2]
                response = self.responses.get(path.decode("latin-1"), _ok(CHARGE))
                writer.write(
                    response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else response
                )
                await writer.drain()
        writer.close()

    async def swallow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet, and note what is said."""
        with contextlib.suppress(OSError):
            writer.write(b"220 hello\r\n")
            while data := await reader.read(4096):
                self.raw += data
                writer.write(b"250 " + data)
        writer.close()


def _ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def _body(reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> bytes:
    if fields.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return body
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))


def certificates(folder: Path, names: Sequence[str]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server needs to be all of `names`, and what a client needs to believe it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "outside")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(one) for one in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    client = ssl.create_default_context(cadata=pem.decode())
    return server, client


@contextlib.asynccontextmanager
async def outside(folder: Path, *names: str) -> AsyncGenerator[Outside]:
    """Open the hosts of these names: HTTP at 80 and 8080, TLS at 443 and 8443, lines of text at 25."""
    world = Outside()
    for name in names:
        world.host(name)
    server, world.roots = certificates(folder / "outside", names or ("nobody.test",))
    async with contextlib.AsyncExitStack() as stack:
        for port in (80, 8080, 25, *TLS_PORTS):
            handler = world.swallow if port == 25 else world.answer
            context = server if port in TLS_PORTS else None
            opened = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context, limit=2**20)
            stack.callback(opened.close)
            world.ports[port] = opened.sockets[0].getsockname()[1]
        yield world


@dataclass
class Inside:
    """What a program in a sandbox sees: doors by port. And the record that its knocking makes."""

    proxy: EgressProxy
    doors: dict[int, int]
    question: int
    folder: Path
    events: list[Event] = field(default_factory=list[Event])
    recorded: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with every event."""

    @property
    def blocked(self) -> list[NetworkBlocked]:
        """What was refused."""
        self.proxy.gate.ledger.flush()
        return [event for event in self.events if isinstance(event, NetworkBlocked)]

    @property
    def allowed(self) -> list[NetworkAllowed]:
        """What was let through."""
        self.proxy.gate.ledger.flush()
        return [event for event in self.events if isinstance(event, NetworkAllowed)]

    @property
    def limits(self) -> list[str]:
        """The limits that were reached."""
        return [event.limit for event in self.events if isinstance(event, LimitHit)]

    @property
    def reasons(self) -> set[tuple[str, str]]:
        """Who was refused, and why."""
        return {(event.host, event.reason) for event in self.blocked}

    @property
    def trust(self) -> ssl.SSLContext:
        """What a program inside believes that obeys the variables for certificates."""
        return ssl.create_default_context(cafile=self.folder / "egress" / "certificates.pem")

    async def sees(self, state: Callable[[], bool]) -> None:
        """Wait until `state` is true of what was recorded."""
        async with asyncio.timeout(SECONDS):
            while not state():
                self.recorded.clear()
                await self.recorded.wait()

    async def talk(self, port: int, *sent: bytes, until: bytes = b"") -> bytes:
        """Knock at a door, send pieces each after an answer to the one before, return all that came."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.doors[port])
        came = b""
        try:
            async with asyncio.timeout(SECONDS):
                for number, piece in enumerate(sent):
                    writer.write(piece)
                    await writer.drain()
                    if number < len(sent) - 1:
                        came += await reader.read(65536)
                while (data := await reader.read(65536)) and not (until and until in came + data):
                    came += data
                came += data
        except OSError:
            pass
        finally:
            writer.close()
        return came

    async def proxied(self, url: str, method: str = "GET", *headers: str, body: bytes = b"") -> bytes:
        """Ask the HTTP proxy for a plain URL."""
        host = url.partition("://")[2].partition("/")[0]
        size = f"Content-Length: {len(body)}\r\n" if body else ""
        more = "".join(f"{header}\r\n" for header in headers)
        head = f"{method} {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{size}{more}\r\n"
        return await self.talk(3128, head.encode("latin-1") + body)

    async def secure(
        self, name: str, request: bytes, *, port: int = 443, door: int = 3128, sni: str | None = None,
        trust: ssl.SSLContext | None = None, until: bytes = CHARGE,
    ) -> bytes:  # fmt: skip
        """Speak TLS to `name`, by CONNECT or captured, and return what is answered.

        Raises:
            OSError: the connection was refused, or TLS failed.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.doors[door])
        try:
            async with asyncio.timeout(SECONDS):
                if door == 3128:
                    writer.write(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
                    reply = await reader.readuntil(b"\r\n\r\n")
                    if b" 200 " not in reply:
                        return reply + await reader.read(65536)
                await writer.start_tls(trust or self.trust, server_hostname=sni or name)
                writer.write(request)
                came = b""
                while data := await reader.read(65536):
                    came += data
                    if until in came:
                        break
                return came
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("no answer") from error
        finally:
            writer.close()

    async def asks(self, name: str, kind: int = 1) -> bytes:
        """Return the answer of DNS over UDP."""
        return await self.query(dns_query(name, kind))

    async def query(self, message: bytes) -> bytes:
        """Send one datagram to the name server and return the answer."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.setblocking(False)
            asker.connect(("127.0.0.1", self.question))
            async with asyncio.timeout(SECONDS):
                await loop.sock_sendall(asker, message)
                return await loop.sock_recv(asker, 4096)


def dns_query(name: str, kind: int = 1) -> bytes:
    """Return a question for a name, which may hold anything."""
    labels = b"".join(
        bytes((len(label),)) + label for label in (part.encode("latin-1") for part in name.split("."))
    )
    return b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0" + labels + b"\0" + kind.to_bytes(2) + b"\0\x01"


def client_hello(name: bytes | None, *more: tuple[int, bytes]) -> bytes:
    """Return a ClientHello that asks for `name`, with further extensions by number."""
    extensions = b""
    if name is not None:
        entry = b"\0" + len(name).to_bytes(2) + name
        more = ((0, len(entry).to_bytes(2) + entry), *more)
    for kind, content in more:
        extensions += kind.to_bytes(2) + len(content).to_bytes(2) + content
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += len(extensions).to_bytes(2) + extensions
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


@contextlib.asynccontextmanager
async def inside(
    world: Outside, folder: Path, *allow: str, policy: Policy | None = None, network: str = "none",
    deny: Sequence[str] = (), limits: Limits | None = None, substitution: Substitution | None = None,
) -> AsyncGenerator[Inside]:  # fmt: skip
    """Open a proxy with listeners on loopback, in place of those of a sandbox."""
    events: list[Event] = []
    recorded = asyncio.Event()

    def emit(event: Event) -> None:
        events.append(event)
        recorded.set()

    proxy = open_egress(
        policy if policy is not None else policy_of(parse_network(network, allow, deny)),
        limits or Limits(),
        emit,
        folder / "egress",
        substitution=substitution,
        dialer=PinningDialer(world.resolve, world.connect),
        upstream=world.roots,
    )
    streams = {port: _listener(socket.SOCK_STREAM) for port in (53, 80, 443, 1080, 3128)}
    datagrams = _listener(socket.SOCK_DGRAM)
    doors = {port: listener.getsockname()[1] for port, listener in streams.items()}
    shown = Inside(proxy, doors, datagrams.getsockname()[1], folder, events, recorded)
    proxy.serve(Listeners(streams=streams, datagrams={53: datagrams}))
    try:
        yield shown
    finally:
        await proxy.close()


def _listener(kind: socket.SocketKind) -> socket.socket:
    """Return a listener as sandboxes have them: for IPv6 and IPv4 where there is both."""
    try:
        listener = socket.socket(socket.AF_INET6, kind)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
    except OSError:
        listener = socket.socket(socket.AF_INET, kind)
        listener.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        listener.listen(128)
    return listener


def own_address() -> str:
    """Return an address of this machine that is not loopback, or the loopback's if it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(ipaddress.ip_address(probe.getsockname()[0]))


def descriptors() -> int:
    """Return how many descriptors this process holds."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _alternative(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)
