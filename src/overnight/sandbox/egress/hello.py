"""Reads the first message of TLS, for the name that a client asks for (RFC 8446, section 4.1.2)."""

import msgspec

MAX_HELLO = 16 * 1024
"""Bytes of a ClientHello; with post-quantum key shares they have about two thousand."""

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ENCRYPTED_HELLO = 0xFE0D


class Hello(msgspec.Struct, frozen=True):
    """What a ClientHello says in the clear. `name` is empty where it names no server."""

    name: str
    encrypted: bool
    """Whether it carries an encrypted ClientHello, in which another name may stand."""


class NotTlsError(ValueError):
    """The bytes are no ClientHello; the message says why."""


def read_hello(data: bytes) -> Hello | None:
    """Return what the ClientHello at the beginning of `data` says, None while it is not complete.

    Raises:
        NotTlsError: it is none, has two readings, or is too long.
    """
    message = b""
    rest = data
    while True:
        if rest and rest[0] != _HANDSHAKE:
            raise NotTlsError("not TLS")
        if len(rest) > 1 and rest[1] != 3:
            raise NotTlsError("not TLS")
        if len(message) > MAX_HELLO or len(data) > 2 * MAX_HELLO:
            raise NotTlsError("ClientHello too long")
        if len(rest) < 5:
            return None
        size = int.from_bytes(rest[3:5])
        if not 0 < size <= 16384:
            raise NotTlsError("record of a wrong size")
        message += rest[5 : 5 + size]
        if message and message[0] != _CLIENT_HELLO:
            raise NotTlsError("not a ClientHello")
        if len(message) >= 4:
            wanted = 4 + int.from_bytes(message[1:4])
            if wanted > MAX_HELLO:
                raise NotTlsError("ClientHello too long")
            if len(message) >= wanted:
                return _parse(_Reader(message[4:wanted]))
        if len(rest) < 5 + size:
            return None
        rest = rest[5 + size :]


class _Reader:
    """Takes pieces off the front; too few bytes are an error."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        if count > len(self.data):
            raise NotTlsError("ClientHello cut short")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def vector(self, width: int) -> bytes:
        return self.take(int.from_bytes(self.take(width)))


def _parse(body: _Reader) -> Hello:
    body.take(2 + 32)
    body.vector(1)
    body.vector(2)
    body.vector(1)
    name, encrypted = "", False
    if not body.data:
        return Hello(name, encrypted)
    extensions = _Reader(body.vector(2))
    if body.data:
        raise NotTlsError("bytes behind the ClientHello's extensions")
    seen: set[int] = set()
    while extensions.data:
        kind = int.from_bytes(extensions.take(2))
        content = extensions.vector(2)
        if kind in seen:
            raise NotTlsError("an extension twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _server_name(_Reader(content))
        encrypted = encrypted or kind == _ENCRYPTED_HELLO
    return Hello(name, encrypted)


def _server_name(content: _Reader) -> str:
    names = _Reader(content.vector(2))
    if content.data or names.take(1) != b"\0":
        raise NotTlsError("an odd server name")
    name = names.vector(2)
    if names.data:
        raise NotTlsError("two server names")
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        raise NotTlsError("an odd server name") from None
