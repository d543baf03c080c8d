"""Takes values out of what is kept: whole texts, structures, and output that comes in pieces.

A search by `str.find` for each spelling, not one alternation of all of them: a literal is looked for by the
machine's own instructions, an alternation is tried character by character.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar, get_origin

import msgspec

from overnight.domain.events import CommandEnded, CommandOutput, Event, MessageAdded, MessageDelta, StepEnded
from overnight.secrets.spellings import spellings, squeezes, squeezes_bytes

T = TypeVar("T")
Span = tuple[int, int, str]

MAX_HELD = 256 * 1024
"""Characters that may be held back as they came; only spaces without end come so far. Beyond it, long runs of
spaces become one: what may be part of a value stays, and is bounded by the longest one."""
_RUN = re.compile(r"(?:\\[nrt]|[ \t\r\n\v\f]){64,}")


class Redactor:
    """Knows the values of some secrets. Keeps the ends of outputs, so: one object for each attempt."""

    def __init__(self, values: Iterable[tuple[str, str]]) -> None:
        """Take (name, value) of each secret."""
        needles: dict[str, str] = {}
        for name, value in values:
            for spelling in spellings(value):
                needles.setdefault(spelling, name)
        self._needles = sorted(needles.items(), key=lambda item: -len(item[0]))
        self._bytes = [(spelling.encode(), name) for spelling, name in self._needles]
        self.longest = max((len(spelling) for spelling, _ in self._bytes), default=0)
        """Bytes of the longest spelling; a search in pieces must overlap by more."""
        self._beginnings: dict[str, list[str]] = {}
        for spelling, _ in self._needles:
            self._beginnings.setdefault(spelling[:2], []).append(spelling)
        self._firsts = {spelling[0] for spelling, _ in self._needles}
        self._held: dict[tuple[str, str], str] = {}
        self._last: dict[tuple[str, str], CommandOutput | MessageDelta] = {}

    def clean(self, text: str) -> str:
        """Return `text` with `[secret:NAME]` in place of every value."""
        spans = self._spans(text)
        if not spans:
            return text
        parts: list[str] = []
        at = 0
        for start, end, name in spans:
            parts += (text[at:start], f"[secret:{name}]")
            at = end
        return "".join((*parts, text[at:]))

    def found_in(self, content: bytes) -> str | None:
        """Return the name of a secret whose value stands in `content`, None if none does."""
        for squeezed in squeezes_bytes(content):
            for needle, name in self._bytes:
                if needle in squeezed:
                    return name
        return None

    def value(self, value: T) -> T:
        """Return a structure with every text in it cleaned; words of a fixed choice stay as they are."""
        if not self._needles:
            return value
        found: Any = self._walked(value)
        return found

    def event(self, event: Event) -> Sequence[Event]:
        """Return what of `event` may be kept now, behind what was held back before it."""
        if not self._needles:
            return (event,)
        match event:
            case CommandOutput():
                return self._piece((event.command_id, event.stream), event)
            case MessageDelta():
                return self._piece(("", event.kind), event)
            case CommandEnded():
                ended = [self._end((event.command_id, stream)) for stream in ("stdout", "stderr")]
                return (*(held for held in ended if held is not None), self.value(event))
            case MessageAdded() | StepEnded():
                ended = [self._end(("", kind)) for kind in ("reasoning", "text")]
                return (*(held for held in ended if held is not None), self.value(event))
            case _:
                return (self.value(event),)

    def rest(self) -> Sequence[Event]:
        """Return what is still held back."""
        ended = [self._end(key) for key in list(self._held)]
        return tuple(held for held in ended if held is not None)

    def _piece(self, key: tuple[str, str], event: CommandOutput | MessageDelta) -> Sequence[Event]:
        """Return the part of an output that is complete; keep the end that may be part of a value."""
        text = self._held.pop(key, "") + event.text
        cut = self._cut(text)
        if cut < len(text):
            held = text[cut:]
            self._held[key] = held if len(held) <= MAX_HELD else _RUN.sub(" ", held)
            self._last[key] = event
        shown = self.clean(text[:cut])
        return (msgspec.structs.replace(event, text=shown),) if shown else ()

    def _end(self, key: tuple[str, str]) -> Event | None:
        text = self._held.pop(key, "")
        last = self._last.pop(key, None)
        return None if last is None or not text else msgspec.structs.replace(last, text=self.clean(text))

    def _cut(self, text: str) -> int:
        """Return where the end of `text` begins that may yet become a value."""
        # A backslash at the end may be half of an escaped line break, which does not count.
        cut = self._begun(text)
        if text.endswith("\\") and (before := self._begun(text[:-1])) < len(text) - 1:
            cut = min(cut, before)
        if cut == len(text):
            return cut
        # A value that is complete and reaches into the part held back is held back whole.
        return min([cut, *(start for start, end, _ in self._spans(text) if end > cut)])

    def _begun(self, text: str) -> int:
        """Return where the longest end of `text` begins with which some spelling begins."""
        begun = len(text)
        for squeezed, dropped in squeezes(text):
            if kept := self._overlap(squeezed):
                begun = min(begun, _positions(text, dropped)[len(squeezed) - kept])
        return begun

    def _overlap(self, squeezed: str) -> int:
        """Return how long the longest end is that some spelling begins with, but is not all of it."""
        tail = squeezed[-max(self.longest - 1, 1) :]
        for at in range(len(tail) - 1):
            for needle in self._beginnings.get(tail[at : at + 2], ()):
                if len(needle) > len(tail) - at and needle.startswith(tail[at:]):
                    return len(tail) - at
        return 1 if tail and tail[-1] in self._firsts else 0

    def _spans(self, text: str) -> list[Span]:
        """Return where values stand in `text`, in order, those that touch each other as one."""
        found: list[Span] = []
        for squeezed, dropped in squeezes(text):
            hits = list(self._hits(squeezed))
            positions = _positions(text, dropped) if hits else []
            found += [(positions[start], positions[end - 1] + 1, name) for start, end, name in hits]
        merged: list[Span] = []
        for start, end, name in sorted(found):
            if merged and start < merged[-1][1]:
                first, last, known = merged[-1]
                merged[-1] = (first, max(last, end), known)
            else:
                merged.append((start, end, name))
        return merged

    def _hits(self, squeezed: str) -> Iterator[Span]:
        for needle, name in self._needles:
            at = squeezed.find(needle)
            while at >= 0:
                yield at, at + len(needle), name
                at = squeezed.find(needle, at + 1)

    def _walked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, msgspec.Struct):
            changed = {
                name: new
                for name in _texts(type(value))
                if (new := self._walked(old := getattr(value, name))) is not old and new != old
            }
            return msgspec.structs.replace(value, **changed) if changed else value
        if isinstance(value, tuple):
            return tuple(self._walked(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [self._walked(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, dict):
            return {self._walked(key): self._walked(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        return value


def _positions(text: str, dropped: re.Pattern[str]) -> list[int]:
    """Return where each character of `text` without what is `dropped` stands in it."""
    positions: list[int] = []
    at = 0
    for start, end in (match.span() for match in dropped.finditer(text)):
        positions.extend(range(at, start))
        at = end
    positions.extend(range(at, len(text)))
    return positions


_fields: dict[type[msgspec.Struct], tuple[str, ...]] = {}


def _texts(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the fields that may hold free text."""
    if kind not in _fields:
        _fields[kind] = tuple(
            f.name for f in msgspec.structs.fields(kind) if get_origin(f.type) is not Literal
        )
    return _fields[kind]
