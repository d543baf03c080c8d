"""From an allowed host to a connection: looked up once, checked, and that very address dialled."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from overnight.domain.hostnames import Address, Host
from overnight.sandbox.egress.addresses import forbidden
from overnight.sandbox.egress.refusal import Refused, Unreachable

LOOKUP_SECONDS = 20.0
CONNECT_SECONDS = 20.0
_LOOKUPS = 4
_TRIED = 4
"""Addresses of one host that are tried, one after the other."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a name, as text; raises `OSError` when there are none."""
Connect = Callable[[Sequence[Address], int], Awaitable[socket.socket]]
"""Returns a connection to the first address that answers; raises `Unreachable`."""


class Dialer(Protocol):
    """Makes connections to hosts that the policy allows."""

    async def dial(self, host: Host, port: int, *, private: bool) -> socket.socket:
        """Return a connection to `host`; only with `private` may it lead to a private address.

        Raises:
            Refused: the name leads where no name may lead.
            Unreachable: there is no such name, or nobody answers.
        """
        ...

    def close(self) -> None:
        """Give threads back."""
        ...


class NoDialer:
    """Looks nothing up and dials nobody: what a sandbox without network has, whatever its policy says."""

    async def dial(self, host: Host, port: int, *, private: bool) -> socket.socket:
        """Refuse."""
        raise Refused("no network")

    def close(self) -> None:
        """Nothing to give back."""


class PinningDialer:
    """Looks a name up once with the machine's own resolver, and dials the address that it checked.

    Args:
        resolve: how names are looked up; by the machine's resolver, in a few threads, when None.
        connect: how an address is dialled once it was checked.
    """

    def __init__(self, resolve: Resolve | None = None, connect: Connect | None = None) -> None:
        self._resolve = resolve
        self._connect = connect or connect_first
        self._threads: ThreadPoolExecutor | None = None

    async def dial(self, host: Host, port: int, *, private: bool) -> socket.socket:
        """Return a connection to `host`; see `Dialer.dial`."""
        addresses = [host.address] if host.address is not None else await self._look_up(host, port)
        for address in addresses:
            # One bad address among good ones refuses the name: it would be somebody's trick.
            reason = "" if private else forbidden(address)
            if reason:
                raise Refused(reason)
        return await self._connect(addresses[:_TRIED], port)

    async def _look_up(self, host: Host, port: int) -> list[Address]:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await (self._resolve or self._system)(host.text, port)
        except (OSError, TimeoutError, UnicodeError):
            raise Unreachable("no such name") from None
        addresses: dict[Address, None] = {}
        for text in found:
            # A zone (`fe80::1%eth0`) says nothing more about whether the address is allowed.
            addresses[ipaddress.ip_address(text.partition("%")[0])] = None
        if not addresses:
            raise Unreachable("no such name")
        return sorted(addresses, key=lambda address: address.version)

    async def _system(self, name: str, port: int) -> list[str]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="overnight-names")
        # The dot at the end keeps the machine's search domains out of it.
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(f"{name}.", port, type=socket.SOCK_STREAM)
        )
        return [str(entry[4][0]) for entry in found]

    def close(self) -> None:
        """Give the threads back; a lookup that hangs ends by itself."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


async def connect_first(addresses: Sequence[Address], port: int) -> socket.socket:
    """Return a connection to the first address that answers at `port`.

    Raises:
        Unreachable: none does.
    """
    loop = asyncio.get_running_loop()
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        connection.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.sock_connect(connection, (str(address), port))
        except (OSError, TimeoutError):
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise Unreachable(f"{addresses[0]} does not answer at port {port}")
