"""A network namespace that leads nowhere: loopback, and listeners on which whatever is asked for arrives.

Messages to the kernel are those of rtnetlink(7): RTM_NEWROUTE with routes of type RTN_LOCAL.
"""

import contextlib
import fcntl
import os
import socket
import struct
from typing import Final

STREAM_PORTS: Final = (53, 80, 443, 1080, 3128)
DATAGRAM_PORTS: Final = (53,)

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_RTM_NEWROUTE, _NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_CREATE = 24, 1, 4, 0x400
_RTN_LOCAL, _RT_TABLE_LOCAL, _RTPROT_STATIC, _RT_SCOPE_HOST, _RTA_OIF = 2, 255, 4, 254, 4
_LOOPBACK: Final = 1
"""The index of `lo` in every network namespace."""


def raise_loopback() -> None:
    """Turn `lo` on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(handle, _SIOCGIFFLAGS, request)
        flags = struct.unpack_from("h", request, 16)[0]
        struct.pack_into("h", request, 16, flags | _IFF_UP)
        fcntl.ioctl(handle, _SIOCSIFFLAGS, bytes(request))


def capture_all() -> None:
    """Make every address local, so that a connection to any of them arrives at our listeners.

    Raises:
        OSError: the kernel refused the route for IPv4.
    """
    _add_local_route(socket.AF_INET)
    with contextlib.suppress(OSError):  # a kernel without IPv6
        _add_local_route(socket.AF_INET6)


def _add_local_route(family: int) -> None:
    scope = _RT_SCOPE_HOST if family == socket.AF_INET else 0
    # struct rtmsg: family, length of destination and source, tos, table, protocol, scope, type, flags.
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _RT_TABLE_LOCAL, _RTPROT_STATIC, scope, _RTN_LOCAL, 0)
    body += struct.pack("=HHI", 8, _RTA_OIF, _LOOPBACK)
    flags = _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE
    message = struct.pack("=IHHII", 16 + len(body), _RTM_NEWROUTE, flags, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(message)
        answer = netlink.recv(65536)
    number = -struct.unpack_from("=i", answer, 16)[0]
    if number:
        raise OSError(number, os.strerror(number), "route")


def make_listeners() -> list[tuple[str, int, socket.socket]]:
    """Return listening sockets as (kind, port, socket), for IPv4 and IPv6 where there is both."""
    wanted = [("streams", port) for port in STREAM_PORTS] + [("datagrams", port) for port in DATAGRAM_PORTS]
    return [(kind, port, _listen(kind, port)) for kind, port in wanted]


def _listen(kind: str, port: int) -> socket.socket:
    style = socket.SOCK_STREAM if kind == "streams" else socket.SOCK_DGRAM
    try:
        listener = socket.socket(socket.AF_INET6, style)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address: tuple[str, int] = ("::", port)
    except OSError:
        listener = socket.socket(socket.AF_INET, style)
        address = ("0.0.0.0", port)  # noqa: S104  nothing but this sandbox reaches it
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    if kind == "streams":
        listener.listen(128)
    return listener
