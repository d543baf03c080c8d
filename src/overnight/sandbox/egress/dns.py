"""Answers to DNS questions, made here: an address of our own for a name that is allowed, else no such name.

Nothing is ever asked of another server, so there is no tunnel. Formats: RFC 1035, section 4.
"""

import ipaddress
import struct
from collections.abc import Callable

import msgspec

from overnight.domain.hostnames import Host, parse_host

MAX_QUERY = 512
_A, _PTR, _ANY, _IN = 1, 12, 255, 1
_FORMAT_ERROR, _NO_SUCH_NAME, _NOT_IMPLEMENTED = 1, 3, 4
_SECONDS = 60
"""How long a program may keep an answer."""
_POOL = ipaddress.IPv4Network("198.18.0.0/15")
"""For benchmarks of networks (RFC 2544): never routed, so no service has such an address."""
_MAX_NAMES = 8192


class Names:
    """Addresses that stand for names within one sandbox, each for one, so that it can be told back."""

    def __init__(self) -> None:
        self._by_name: dict[str, str] = {}
        self._by_address: dict[str, str] = {}
        self._next = 0

    def address_of(self, name: str) -> str:
        """Return the address that stands for `name`; the oldest one is given anew when there are too many."""
        if name not in self._by_name:
            # Never the net's own address; far fewer names than addresses, so a new one is free again.
            self._next = self._next % (_POOL.num_addresses - 2) + 1
            if len(self._by_name) >= _MAX_NAMES:
                oldest = next(iter(self._by_name))
                del self._by_address[self._by_name.pop(oldest)]
            address = str(_POOL[self._next])
            self._by_name[name] = address
            self._by_address[address] = name
        return self._by_name[name]

    def name_of(self, address: str) -> str | None:
        """Return the name that `address` stands for."""
        return self._by_address.get(address)


class Question(msgspec.Struct, frozen=True):
    """One question, as it must be repeated in the answer. `kind` is the type of record."""

    raw: bytes
    name: str
    kind: int


def answer(query: bytes, allows: Callable[[Host], bool], names: Names, note: Callable[[str], None]) -> bytes:
    """Return the answer to a query, empty where none is due.

    `note` gets each name that is not allowed, as it was asked for.
    """
    if not 12 <= len(query) <= MAX_QUERY or query[2] & 0x80:
        return b""  # Too short to be answered, or an answer itself: two servers must not talk for ever.
    header = query[:12]
    if query[2] & 0x78:
        return _response(header, b"", _NOT_IMPLEMENTED)
    question = _question(query)
    if question is None:
        return _response(header, b"", _FORMAT_ERROR)
    try:
        host = parse_host(question.name)
    except ValueError:
        host = None
    if host is None or host.address is not None or not allows(host):
        if question.kind != _PTR:
            note(question.name)
        return _response(header, question.raw, _NO_SUCH_NAME)
    if question.kind not in (_A, _ANY):
        # No IPv6 address, and no record that would offer other protocols or hide the name from us.
        return _response(header, question.raw, 0)
    packed = ipaddress.IPv4Address(names.address_of(host.text)).packed
    record = b"\xc0\x0c" + struct.pack(">HHIH", _A, _IN, _SECONDS, 4) + packed
    return _response(header, question.raw, 0, record)


def _response(header: bytes, question: bytes, code: int, record: bytes = b"") -> bytes:
    # Response, authoritative, recursion desired as asked, recursion available.
    flags = 0x8480 | (header[2] & 0x01) << 8 | code
    counts = struct.pack(">HHHH", bool(question), bool(record), 0, 0)
    return header[:2] + struct.pack(">H", flags) + counts + question + record


def _question(query: bytes) -> Question | None:
    if query[4:6] != b"\0\x01":
        return None
    labels: list[str] = []
    place = 12
    while place < len(query) and (size := query[place]):
        label = query[place + 1 : place + 1 + size]
        if size > 63 or len(label) != size:
            return None
        # A dot or anything else in a label must not become another name's dot.
        labels.append(label.decode("latin-1").replace(".", "\\"))
        place += 1 + size
    end = place + 5
    if end > len(query) or query[place + 3 : end] != b"\0\x01":
        return None
    return Question(query[12:end], ".".join(labels), int.from_bytes(query[place + 1 : place + 3]))
