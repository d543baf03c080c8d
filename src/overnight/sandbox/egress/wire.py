"""Bytes both ways: over a socket, or over TLS over another wire."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from typing import Protocol

CHUNK = 256 * 1024


class Wire(Protocol):
    """A connection. Errors of the network are `OSError`, those of TLS are among them."""

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return what came, at most `limit` bytes; nothing at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Return when the other side's buffers have taken `data`."""
        ...

    async def end(self) -> None:
        """Say that nothing more will be written."""
        ...


class SocketWire:
    """A wire over a connected socket, which it owns."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._kept = b""

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return what came, at most `limit` bytes; nothing at the end."""
        if self._kept:
            data, self._kept = self._kept[:limit], self._kept[limit:]
            return data
        data = await self._loop.sock_recv(self._socket, limit)
        # With bytes always there, `sock_recv` never gives the loop back: others must have their turn.
        await asyncio.sleep(0)
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back, to be read next."""
        self._kept = data + self._kept

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._loop.sock_sendall(self._socket, data)

    async def end(self) -> None:
        """Send the end of the stream."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def dialled(self) -> str:
        """Return the address that the other side connected to, of IPv4 in its own form."""
        address = ipaddress.ip_address(str(self._socket.getsockname()[0]).partition("%")[0])
        inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(inner or address)


class TlsWire:
    """TLS over `wire`, as server or client. `handshake` comes first."""

    def __init__(self, wire: Wire, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self._wire = wire
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._flushing = asyncio.Lock()

    async def handshake(self) -> None:
        """Agree on keys and check the other side's certificate.

        Raises:
            ssl.SSLError: the other side is not who it must be, or speaks no TLS.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return what came, at most `limit` bytes; nothing at the end."""
        while True:
            try:
                return self._tls.read(limit)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def write(self, data: bytes) -> None:
        """Encrypt and send all of `data`."""
        self._tls.write(data)
        await self._flush()

    async def end(self) -> None:
        """Send the end of the stream."""
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            await self._flush()
        await self._wire.end()

    async def _fill(self) -> None:
        data = await self._wire.read()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        async with self._flushing:
            data = self._outgoing.read()
            if data:
                await self._wire.write(data)
