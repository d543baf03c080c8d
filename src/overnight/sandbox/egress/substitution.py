"""Where a vault puts real values in place of what the sandbox knows: in requests to hosts that it names."""

from typing import Protocol

import msgspec


class RequestHead(msgspec.Struct, frozen=True, kw_only=True):
    """A request before its body. Header names are lower case; values as they came."""

    method: bytes
    target: bytes
    """Path and query."""
    headers: tuple[tuple[bytes, bytes], ...]


class Substitution(Protocol):
    """Puts real values into requests. Asked only for what the policy has already let through."""

    def wants(self, host: str, port: int) -> bool:
        """Tell whether requests to a host must be read, because a placeholder may stand in them."""
        ...

    def put_in(self, host: str, port: int, head: RequestHead, *, secure: bool) -> RequestHead:
        """Return the head with real values; `secure` says whether it goes out over TLS."""
        ...


class NoSubstitution:
    """No secrets: every request goes out as it came."""

    def wants(self, host: str, port: int) -> bool:
        """No host has secrets."""
        return False

    def put_in(self, host: str, port: int, head: RequestHead, *, secure: bool) -> RequestHead:
        """Return the head as it is."""
        return head
