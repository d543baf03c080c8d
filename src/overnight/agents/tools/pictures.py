"""What kind of picture some bytes are and how large: read from the file's head, nothing is decoded.

Formats: PNG (w3.org/TR/png, 11.2.2), GIF 89a (logical screen descriptor), JPEG (ITU T.81, B.2.2),
WebP (RFC 9649).
"""

from typing import Literal

import msgspec

MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG markers without a length."""


class Picture(msgspec.Struct, frozen=True):
    """A picture's kind and size in pixels."""

    media_type: MediaType
    width: int
    height: int


def look_at(content: bytes) -> Picture | None:
    """Return what the bytes show to be, whatever the file is called; None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR" and len(content) >= 24:
        found = _sized("image/png", _big(content[16:20]), _big(content[20:24]))
    elif content[:6] in (b"GIF87a", b"GIF89a") and len(content) >= 10:
        found = _sized("image/gif", _little(content[6:8]), _little(content[8:10]))
    elif content.startswith(b"\xff\xd8\xff"):
        found = _jpeg(content)
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP" and len(content) >= 30:
        found = _webp(content)
    else:
        found = None
    return found


def _sized(media_type: MediaType, width: int, height: int) -> Picture | None:
    return Picture(media_type, width, height) if width > 0 and height > 0 else None


def _jpeg(content: bytes) -> Picture | None:
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _START_OF_FRAME:
            if at + 9 > len(content):
                return None
            return _sized("image/jpeg", _big(content[at + 7 : at + 9]), _big(content[at + 5 : at + 7]))
        else:
            at += 2 + max(2, _big(content[at + 2 : at + 4]))
    return None


def _webp(content: bytes) -> Picture | None:
    match content[12:16]:
        case b"VP8 " if content[23:26] == b"\x9d\x01\x2a":
            width, height = _little(content[26:28]) & 0x3FFF, _little(content[28:30]) & 0x3FFF
        case b"VP8L" if content[20] == 0x2F:
            bits = _little(content[21:25])
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            width, height = _little(content[24:27]) + 1, _little(content[27:30]) + 1
        case _:
            return None
    return _sized("image/webp", width, height)


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
