"""What is kept of one file: its definitions and the names that it refers to, cut out of its text."""

from collections.abc import Sequence
from typing import Final

import msgspec

from overnight.agents.codemap.languages import KINDS

MAX_NAME: Final = 100
MAX_SIGNATURE: Final = 200
"""Characters of a signature that are shown; a longer one ends with an ellipsis."""
MAX_LINE_LEAD: Final = 80
"""How far before a definition its line may begin for the signature to begin there too."""


class Definition(msgspec.Struct, frozen=True, array_like=True):
    """A named part of a file. Lines count from 1."""

    name: str
    kind: str
    line: int
    end_line: int
    scope: int
    """Where the definition that holds it stands in the list; -1 at the top."""
    signature: str
    """As the file has it up to the body, in one line."""


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """What one file defines and refers to, or why that is not known."""

    definitions: tuple[Definition, ...] = ()
    references: tuple[str, ...] = ()
    counts: bytes = b""
    """How often each of `references` is mentioned, at most 255."""
    skipped: str = ""


Positions = tuple[int, int, int, int, int, int]
"""Of a definition: kind, name, whole (first byte and the one behind the last), end of the signature."""
Mention = tuple[int, int, int]
"""First byte of a name, the byte behind it, how often it is mentioned."""


def cut(content: bytes, definitions: Sequence[Positions], references: Sequence[Mention]) -> Tags | None:
    """Return the tags that the positions stand for, None where they cannot be of this content.

    Nothing is believed of positions but that they point into `content`: they come from the process that
    parses it.
    """
    size = len(content)
    for kind, name, name_end, start, end, signature_end in definitions:
        inside = 0 <= start <= name < name_end <= end <= size and start <= signature_end <= size
        if not inside or not 0 <= kind < len(KINDS):
            return None
    if any(not 0 <= start < end <= size or count < 1 for start, end, count in references):
        return None
    found: list[Definition] = []
    open_scopes: list[tuple[int, int]] = []
    line, counted = 1, 0
    # Outer ones come before the inner ones that begin where they do.
    for kind, name, name_end, start, end, signature_end in sorted(
        definitions, key=lambda d: (d[3], -d[4], d)
    ):
        text = _name(content[name:name_end])
        if not text:
            continue
        while open_scopes and open_scopes[-1][1] <= start:
            open_scopes.pop()
        line += content.count(b"\n", counted, start)
        counted = start
        definition = Definition(
            name=text,
            kind=KINDS[kind],
            line=line + content.count(b"\n", start, name),
            end_line=line + content.count(b"\n", start, end),
            scope=open_scopes[-1][0] if open_scopes else -1,
            signature=_signature(content, start, max(signature_end, name_end), KINDS[kind]),
        )
        open_scopes.append((len(found), end))
        found.append(definition)
    names = {_name(content[start:end]): min(count, 255) for start, end, count in references}
    names.pop("", None)
    return Tags(definitions=tuple(found), references=tuple(names), counts=bytes(names.values()))


def printable(text: str) -> str:
    """Return `text` with a mark in place of what no terminal should get: control and invisible characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _name(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace") if len(raw) <= MAX_NAME else ""
    return text if text.isprintable() and " " not in text else ""


def _signature(content: bytes, start: int, end: int, kind: str) -> str:
    first = content.rfind(b"\n", max(0, start - MAX_LINE_LEAD), start) + 1
    if first or start < MAX_LINE_LEAD:
        start = first
    piece = content[start : min(end, start + 4 * MAX_SIGNATURE)]
    if kind in ("constant", "macro", "type"):
        piece = piece.split(b"\n", 1)[0]
    words = " ".join(piece.decode("utf-8", "replace").split())
    text = printable(words).rstrip("{:=; ")
    text = (
        text.replace("( ", "(").replace(", )", ")").replace(" )", ")").replace("[ ", "[").replace(" ]", "]")
    )
    return text if len(text) <= MAX_SIGNATURE else text[: MAX_SIGNATURE - 1] + "…"
