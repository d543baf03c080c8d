"""Heads of requests and responses: what of them may pass, and whom they are for. Pure."""

from collections.abc import Iterable

import h11

from overnight.domain.hostnames import Host, parse_host, split_port
from overnight.sandbox.egress.refusal import Refused
from overnight.sandbox.egress.substitution import RequestHead

Headers = tuple[tuple[bytes, bytes], ...]

_HOP = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings",
     b"proxy-authenticate", b"proxy-authorization", b"expect")
)  # fmt: skip
"""Between two neighbours only: RFC 9110, section 7.6.1."""
_OVERRIDES = frozenset(
    (b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-method",
     b"x-original-url", b"x-rewrite-url", b"x-forwarded-host", b"x-forwarded-method", b"x-forwarded-uri")
)  # fmt: skip
"""By these some servers take one request for another."""
_RESPONSE = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"upgrade", b"alt-svc", b"trailer"))


def field(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the values of a header."""
    return [value for key, value in headers if key == name]


def plain(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers as pairs, names in lower case."""
    return tuple((bytes(key), bytes(value)) for key, value in headers)


def refuse_two_readings(request: h11.Request) -> None:
    """Refuse what two servers could read differently, before anything of it is used.

    Raises:
        Refused: it has two lengths, no or two hosts, or a version that we do not speak.
    """
    headers = plain(request.headers)
    if request.http_version not in (b"1.0", b"1.1"):
        raise Refused("malformed request: HTTP version")
    lengths = len(field(headers, b"content-length"))
    if field(headers, b"transfer-encoding") and (lengths or request.http_version == b"1.0"):
        raise Refused("malformed request: two lengths")
    if lengths > 1:
        raise Refused("malformed request: two lengths")
    if len(field(headers, b"host")) > 1:
        raise Refused("malformed request: two hosts")


def wants_upgrade(request: h11.Request) -> bool:
    """Tell whether a request would leave HTTP behind."""
    headers = plain(request.headers)
    return bool(field(headers, b"upgrade") or field(headers, b"http2-settings"))


def authority_of(request: h11.Request, default: int) -> tuple[Host, int]:
    """Return whom the header `Host` names; `default` is the port where it names none.

    Raises:
        Refused: there is none, or it is no host.
    """
    values = field(plain(request.headers), b"host")
    if not values:
        raise Refused("malformed request: no host")
    return read_authority(values[0], default)


def read_authority(value: bytes, default: int | None = None) -> tuple[Host, int]:
    """Return host and port of an authority.

    Raises:
        Refused: it is none.
    """
    try:
        return split_port(value.decode("ascii"), default)
    except (ValueError, UnicodeDecodeError) as error:
        why = "not ASCII" if isinstance(error, UnicodeDecodeError) else str(error)
        raise Refused(f"malformed host: {why}") from None


def absolute(target: bytes) -> tuple[Host, int, bytes]:
    """Return host, port and path of an absolute `http` target.

    Raises:
        Refused: it is none, or names a user.
    """
    scheme, mark, rest = target.partition(b"://")
    if not mark or scheme.lower() != b"http":
        raise Refused("malformed request: a proxy takes http:// targets and CONNECT")
    end = min(
        (place for place in (rest.find(b"/"), rest.find(b"?"), rest.find(b"#")) if place >= 0),
        default=len(rest),
    )
    host, port = read_authority(rest[:end], 80)
    path = rest[end:]
    if b"#" in path:
        raise Refused("malformed request: fragment")
    return host, port, path if path.startswith(b"/") else b"/" + path


def as_text(data: bytes) -> str:
    """Return bytes of a head as text that loses nothing."""
    return data.decode("latin-1")


def host_header(host: Host, port: int, default: int) -> bytes:
    """Return the value of `Host` for a request to a host."""
    name = f"[{host.text}]" if ":" in host.text else host.text
    return name.encode() if port == default else f"{name}:{port}".encode()


def forwarded(request: h11.Request, path: bytes, host: bytes) -> RequestHead:
    """Return the request as it goes on: for this host, without what is between neighbours or overrides."""
    headers = plain(request.headers)
    named = {
        token.strip().lower() for value in field(headers, b"connection") for token in value.split(b",")
    } - {b"content-length", b"transfer-encoding", b"host"}
    dropped = _HOP | _OVERRIDES | named | {b"host"}
    kept = tuple((key, value) for key, value in headers if key not in dropped)
    return RequestHead(method=bytes(request.method), target=path, headers=((b"host", host), *kept))


def returned(response: h11.Response) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response as they go back."""
    headers = plain(response.headers)
    named = {
        token.strip().lower() for value in field(headers, b"connection") for token in value.split(b",")
    } - {b"content-length", b"transfer-encoding"}
    if field(headers, b"transfer-encoding"):
        named.add(b"content-length")
    return [(key, value) for key, value in headers if key not in _RESPONSE | named]


def parse(name: str) -> Host:
    """Return a host.

    Raises:
        Refused: it is none.
    """
    try:
        return parse_host(name)
    except ValueError as error:
        raise Refused(f"malformed host: {error}") from None
