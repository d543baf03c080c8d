"""The strict grammar of host names: what does not fit it is refused before anybody looks it up.

Other sandboxes were broken here: a name that one part read to its end and another up to a NUL, an address
in octal, a dot at the end. So there is one reading, and whatever could have two is an error.
"""

import ipaddress
import re

import msgspec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_NAME = 253
"""RFC 1035, section 2.3.4, without the root's dot."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_QUAD = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
# What inet_aton and the URL standard take for an address: a last label of digits, or of hexadecimal ones.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")


class Host(msgspec.Struct, frozen=True):
    """A host as one may ask for it: a name in lower case without a dot at its end, or an address."""

    text: str
    address: Address | None = None


def parse_host(text: str) -> Host:
    """Return the host that `text` names; IPv6 addresses may stand in brackets.

    Raises:
        ValueError: it is no name in letters, digits and hyphens, and no address in its one usual notation;
            the message says why in a few words.
    """
    if not text:
        raise ValueError("empty host name")
    if ":" in text or text.startswith("["):
        return _version_6(text)
    if not text.isascii() or any(not (c.isalnum() or c in ".-") for c in text):
        raise ValueError("a host name has only letters, digits, hyphens and dots")
    name = text.lower().removesuffix(".")
    if len(name) > MAX_NAME:
        raise ValueError(f"a host name has at most {MAX_NAME} characters")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        if not _QUAD.fullmatch(name) or text.endswith("."):
            raise ValueError("an address in an odd notation")
        return Host(name, ipaddress.IPv4Address(name))
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("a host name is made of labels with 1 to 63 letters, digits and inner hyphens")
    return Host(name)


def _version_6(text: str) -> Host:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" in bare or "[" in bare or "]" in bare:
        raise ValueError("an address with a zone or stray brackets")
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError:
        raise ValueError("neither a host name nor an address") from None
    return Host(str(address), address)


def split_port(text: str, default: int | None = None) -> tuple[Host, int]:
    """Return host and port of `HOST:PORT` or `[ADDRESS]:PORT`.

    Raises:
        ValueError: the host is none, or the port is missing without a `default` or no number up to 65535.
    """
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?", text)
    if found is None or (found[2] is None and default is None):
        raise ValueError("not of the form HOST:PORT")
    port = int(found[2]) if found[2] is not None else default
    if port is None or not 0 < port < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return parse_host(found[1]), port
