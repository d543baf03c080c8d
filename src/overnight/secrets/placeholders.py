"""What an agent holds instead of its secrets, and the way back on the way out."""

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from overnight.domain.secret import Secret

Head = TypeVar("Head", bound=msgspec.Struct)
Headers = tuple[tuple[bytes, bytes], ...]

PREFIX = "OVERNIGHT_SECRET_"
_BASIC = re.compile(rb"(?i)(basic +)([A-Za-z0-9+/]+={0,2}) *")
_NEVER = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class Placeholders:
    """The placeholders of one attempt: worthless outside of it, and anywhere but at the named hosts.

    Satisfies the egress proxy's `Substitution`. Values go into headers alone (inside `Basic` credentials as
    well), never into an address, where servers and caches write them down; and only over TLS, or to this
    machine.
    """

    def __init__(self, values: Iterable[tuple[Secret, str]]) -> None:
        """Take the secrets of an agent with their values; those without hosts are left out."""
        self._known = [
            (secret, f"{PREFIX}{secrets.token_hex(20)}", value) for secret, value in values if secret.hosts
        ]

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of the agent's commands."""
        return {secret.name: placeholder for secret, placeholder, _ in self._known}

    def wants(self, host: str, port: int) -> bool:
        """Tell whether requests to a host must be read, because a placeholder may stand in them."""
        del port
        return any(_meant(secret, host) for secret, _, _ in self._known)

    def put_in(self, host: str, port: int, head: Head, *, secure: bool) -> Head:
        """Return the head of a request with the values that are for `host`; others stay placeholders."""
        del port
        fields: Any = head
        pairs = self._pairs(host, secure)
        if not pairs:
            return head
        headers: Headers = tuple(
            (name, value if name.lower() in _NEVER else _replaced(value, pairs))
            for name, value in fields.headers
        )
        return msgspec.structs.replace(head, headers=headers)

    def _pairs(self, host: str, secure: bool) -> list[tuple[bytes, bytes]]:
        if not secure and host not in _LOOPBACK:
            return []
        return [
            (placeholder.encode(), value.encode())
            for secret, placeholder, value in self._known
            if _meant(secret, host)
        ]


def _meant(secret: Secret, host: str) -> bool:
    return any(
        host.endswith(known[1:]) if known.startswith("*.") else host == known for known in secret.hosts
    )


def _replaced(value: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    if basic := _BASIC.fullmatch(value):
        try:
            inner = base64.b64decode(basic[2], validate=True)
        except binascii.Error:
            return value
        return basic[1] + base64.b64encode(_plainly(inner, pairs))
    return _plainly(value, pairs)


def _plainly(value: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    for placeholder, real in pairs:
        value = value.replace(placeholder, real)
    return value
