"""Applying a parsed apply_patch to texts: where a chunk belongs, and what stands there afterwards."""

import difflib
from bisect import bisect_left
from collections.abc import Callable, Sequence

from overnight.agents.tools.patch_format import Chunk, Line
from overnight.domain.errors import PatchError

NEAREST_LINES = 8
"""Lines of the file that an error shows around the place which came closest."""
MAX_LINES = 200_000
"""A file with more lines is not for patches: looking for a place would keep the host busy."""
MAX_COMPARISONS = 10_000_000
"""Lines that are compared to find the places of one file's chunks; about a second."""
_NEAR_COMPARISONS = 20_000
"""Pairs of lines that are compared to find the place which came closest."""
_COMPARED_LINES = 50
_COMPARED_CHARACTERS = 200
_BOM = "\ufeff"

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
_SINGLE_QUOTES = dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b"), "'")
_DOUBLE_QUOTES = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f"), '"')
_SPACES = dict.fromkeys(
    map(ord, "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"), " "
)
_PUNCTUATION = {**_DASHES, **_SINGLE_QUOTES, **_DOUBLE_QUOTES, **_SPACES}

_PASSES: tuple[Callable[[str], str], ...] = (
    lambda line: line,
    str.rstrip,
    str.strip,
    lambda line: line.translate(_PUNCTUATION).strip(),
)
"""Four ways to compare lines, strictest first."""

Replacement = tuple[int, int, list[str]]
"""Where, how many lines, and the lines that take their place."""


class Places:
    """The lines of one file, without their endings, and where lines of a patch stand among them."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self._forms: list[tuple[list[str], dict[str, list[int]]]] = []
        self._left = MAX_COMPARISONS

    def seek(self, pattern: Sequence[str], start: int, at_end: bool = False) -> int | None:
        """Return the first index at or after `start` where `pattern` stands, or None.

        With `at_end` the very end is tried first. An empty pattern is found at `start`.

        Raises:
            PatchError: the file is so alike everywhere that looking would take too long.
        """
        if not pattern:
            return start
        last = len(self.lines) - len(pattern)
        if last < start:
            return None
        for number, form in enumerate(_PASSES):
            wanted = [form(line) for line in pattern]
            have, where = self._form(number)
            if at_end and have[last:] == wanted:
                return last
            # The rarest of the lines leaves the fewest places to look at.
            rarest = min(range(len(wanted)), key=lambda offset: len(where.get(wanted[offset], ())))
            candidates = where.get(wanted[rarest], ())
            for position in candidates[bisect_left(candidates, start + rarest) :]:
                at = position - rarest
                if at > last:
                    break
                self._left -= len(wanted)
                if self._left < 0:
                    raise PatchError("The lines of the patch stand in too many places", "Give more context")
                if have[at : at + len(wanted)] == wanted:
                    return at
        return None

    def _form(self, number: int) -> tuple[list[str], dict[str, list[int]]]:
        """Return the lines as one pass compares them, and the positions of each."""
        while len(self._forms) <= number:
            form = _PASSES[len(self._forms)]
            have = [form(line) for line in self.lines]
            where: dict[str, list[int]] = {}
            for index, line in enumerate(have):
                where.setdefault(line, []).append(index)
            self._forms.append((have, where))
        return self._forms[number]


def update_text(path: str, text: str, chunks: Sequence[Chunk]) -> str:
    """Return `text` with all chunks applied. Lines that no chunk removes stay as they are, byte for byte.

    Context that matched only leniently keeps the file's spelling; added lines get the line ending of their
    place. The result ends with a newline.

    Raises:
        PatchError: a chunk's place is not found; the message shows the nearest lines of the file.
    """
    mark = _BOM if text.startswith(_BOM) else ""
    raw = text.removeprefix(_BOM).split("\n")
    if raw[-1] == "":
        raw.pop()
    elif len(raw) > 1 and raw[0].endswith("\r"):
        raw[-1] += "\r"
    if len(raw) > MAX_LINES:
        raise PatchError(f"{path} has {len(raw):,} lines, too many for a patch", "Use a command instead")
    places = Places([line.removesuffix("\r") for line in raw])
    replacements: list[Replacement] = []
    cursor = 0
    for chunk in chunks:
        start, length, new = _place(path, raw, places, chunk, cursor)
        replacements.append((start, length, new))
        # Lines that only come to the end leave the cursor where the context put it.
        cursor = start + length if length else cursor
    order = sorted(range(len(replacements)), key=lambda number: (replacements[number][0], number))
    for number in reversed(order):
        start, length, new = replacements[number]
        raw[start : start + length] = new
    return mark + "".join(f"{line}\n" for line in raw) if raw else ""


def _place(path: str, raw: list[str], places: Places, chunk: Chunk, cursor: int) -> Replacement:
    for context in chunk.contexts:
        found = places.seek([context], cursor)
        if found is None:
            raise PatchError(
                f"{path}: no line matches the context '@@ {context}'", nearest(places.lines, [context])
            )
        cursor = found + 1
    lines = list(chunk.lines)
    if not chunk.old:
        return len(raw), 0, _with_ending([line.text for line in lines], raw, len(raw) - 1)
    found = places.seek(chunk.old, cursor, chunk.at_end)
    if found is None and chunk.old[-1] == "":
        # A blank line before the next chunk is often layout, not context.
        last = max(number for number, line in enumerate(lines) if line.kind != "+")
        del lines[last]
        old = [line.text for line in lines if line.kind != "+"]
        found = places.seek(old, cursor, chunk.at_end) if old else None
    if found is None:
        expected = "\n".join(chunk.old)
        raise PatchError(f"{path}: these lines were not found:\n{expected}", nearest(places.lines, chunk.old))
    return _replaced(raw, found, lines)


def _replaced(raw: list[str], start: int, lines: Sequence[Line]) -> Replacement:
    """Return what takes the place of the lines from `start` on; context stays as the file has it."""
    new: list[str] = []
    at = start
    for line in lines:
        if line.kind == "+":
            new += _with_ending([line.text], raw, min(at, len(raw) - 1))
            continue
        if line.kind == " ":
            new.append(raw[at])
        at += 1
    return start, at - start, new


def _with_ending(lines: list[str], raw: Sequence[str], neighbour: int) -> list[str]:
    """Return new lines with the carriage return that the file's line at `neighbour` has."""
    if 0 <= neighbour < len(raw) and raw[neighbour].endswith("\r"):
        return [line if line.endswith("\r") else f"{line}\r" for line in lines]
    return lines


def nearest(lines: Sequence[str], pattern: Sequence[str]) -> str:
    """Return the part of the file that looks most like `pattern`, with line numbers."""
    if not lines:
        return "The file is empty"
    size = max(1, len(pattern))
    wanted = [line[:_COMPARED_CHARACTERS].strip() for line in pattern[:_COMPARED_LINES]]
    best, best_score = 0, -1.0
    for index in _candidates(lines, pattern):
        window = [line[:_COMPARED_CHARACTERS].strip() for line in lines[index : index + len(wanted)]]
        score = sum(
            difflib.SequenceMatcher(None, a, b).quick_ratio() for a, b in zip(wanted, window, strict=False)
        )
        if score > best_score:
            best, best_score = index, score
    first = max(0, best - 1)
    shown = lines[first : first + min(max(size + 2, NEAREST_LINES), _COMPARED_LINES)]
    body = "\n".join(
        f"{first + offset + 1}: {line[:_COMPARED_CHARACTERS]}" for offset, line in enumerate(shown)
    )
    return f"The nearest lines of the file are:\n{body}"


def _candidates(lines: Sequence[str], pattern: Sequence[str]) -> Sequence[int]:
    """Return where the pattern may have been meant to begin, as many places as may be compared.

    In a long file these are the places where one of its lines stands.
    """
    windows = max(1, len(lines) - len(pattern) + 1)
    most = _NEAR_COMPARISONS // max(1, min(len(pattern), _COMPARED_LINES))
    if windows <= most:
        return range(windows)
    offsets = {line.strip(): offset for offset, line in reversed(list(enumerate(pattern))) if line.strip()}
    found = {
        min(max(0, index - offset), windows - 1)
        for index, line in enumerate(lines)
        if (offset := offsets.get(line.strip())) is not None
    }
    return sorted(found)[:most] or range(most)
