"""Which addresses a name may lead to: public ones, and none that reaches this machine or its network."""

import ipaddress
import socket

from overnight.domain.hostnames import Address

_FOUR = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        # Answers to any virtual machine of one cloud, with that machine's secrets.
        "168.63.129.16/32",
    )
)  # fmt: skip
"""RFC 6890 and what came after it. `ipaddress` knows most of them, but not the same in every Python."""
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SIX = tuple(
    ipaddress.IPv6Network(text)
    # Teredo, benchmarking, ORCHID, documentation, 6to4, documentation, segment routing: within 2000::/3.
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


def forbidden(address: Address) -> str:
    """Return why no name may lead to `address`, or an empty text.

    IPv6 is allowed only where it is global unicast: that leaves out loopback, link-local, unique local,
    multicast, and every form that carries an IPv4 address (mapped, NAT64, 6to4, Teredo).
    """
    if isinstance(address, ipaddress.IPv4Address):
        if any(address in network for network in _FOUR) or not address.is_global:
            return "private address"
    elif address not in _GLOBAL_UNICAST or any(address in network for network in _SIX):
        return "private address"
    return "address of this machine" if _is_own(address) else ""


def _is_own(address: Address) -> bool:
    """Tell whether this machine answers at `address`: then a socket can be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
