"""The ways in which a value may be written that a search for it must know.

Spaces and line breaks are left out on both sides of a comparison (`squeezes`), so that a value or an encoding
of it that is wrapped, folded or set out in groups is found as well. Not known: compressed, encrypted or
otherwise computed forms; a value from which characters were left out, or with others put between.
"""

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

_SPACES = " \t\r\n\v\f"
_DROPPED = dict.fromkeys(map(ord, _SPACES))
_SPACES_BYTES = _SPACES.encode()
_SPACE = re.compile(r"[ \t\r\n\v\f]")
_ESCAPED = re.compile(r"\\[nrt]|[ \t\r\n\v\f]")
_LINE = 16
"""A line of a value of many lines, such as a private key, counts by itself from so many characters on."""
_SHORTEST = 6


def squeezes(text: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield `text` without spaces and line breaks, and what was left out.

    Where there is a backslash, once more without those line breaks that are written as in JSON: both, as a
    value may stand behind a backslash and begin with an `n`.
    """
    yield text.translate(_DROPPED), _SPACE
    if "\\" in text:
        yield _ESCAPED.sub("", text), _ESCAPED


def squeezes_bytes(content: bytes) -> Iterator[bytes]:
    """Yield `content` as `squeezes` would."""
    yield content.translate(None, _SPACES_BYTES)
    if b"\\" in content:
        for escape in (rb"\n", rb"\r", rb"\t"):
            content = content.replace(escape, b"")
        yield content.translate(None, _SPACES_BYTES)


def spellings(value: str) -> frozenset[str]:
    """Return every spelling of `value`, squeezed."""
    lines = [line.strip() for line in value.splitlines()]
    parts = [value, *(line for line in lines if len(lines) > 1 and len(line) >= _LINE and line[0] != "-")]
    found = {form for part in parts for spelling in _of(part) for form, _ in squeezes(spelling)}
    return frozenset(spelling for spelling in found if len(spelling) >= _SHORTEST)


def _of(value: str) -> Iterator[str]:
    raw = value.encode()
    yield value
    yield value[::-1]
    yield from (raw.hex(), raw.hex().upper())
    yield from ("".join(f"\\x{byte:02x}" for byte in raw), raw.hex(":"), raw.hex(":").upper())
    yield from _percent(value)
    escaped = json.dumps(value)[1:-1]
    # Twice: a tool's arguments are JSON inside a message that may be JSON as well.
    yield from (escaped, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(escaped)[1:-1])
    yield from (html.escape(value), shlex.quote(value).removeprefix("'").removesuffix("'"))
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield from _aligned(raw, alphabet(raw).decode(), 0)
        for shift in (1, 2):
            yield from _aligned(raw, alphabet(bytes(shift) + raw).decode(), shift)


def _percent(value: str) -> Iterator[str]:
    for spelled in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield spelled
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), spelled)
    every = "".join(f"%{byte:02X}" for byte in value.encode())
    yield from (every, every.lower())


def _aligned(raw: bytes, encoded: str, shift: int) -> Iterator[str]:
    """Yield the digits of a base64 that `raw` alone decides, where `shift` bytes stand before it."""
    yield encoded[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
