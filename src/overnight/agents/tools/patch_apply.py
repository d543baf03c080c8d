"""Applying a parsed apply_patch to texts: where a chunk belongs, and what stands there afterwards."""

import difflib
from collections.abc import Callable, Sequence

from overnight.agents.tools.patch_format import Chunk
from overnight.domain.errors import PatchError

NEAREST_LINES = 8
"""Lines of the file that an error shows around the place which came closest."""
MAX_LINES = 200_000
"""A file with more lines is not for patches: looking for a place would keep the host busy."""
_COMPARISONS = 20_000
"""Pairs of lines that are compared to find the place which came closest."""
_COMPARED_LINES = 50
_COMPARED_CHARACTERS = 200

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
    lambda line: line.strip().translate(_PUNCTUATION),
)
"""Four ways to compare lines, strictest first."""


def seek(lines: Sequence[str], pattern: Sequence[str], start: int, at_end: bool = False) -> int | None:
    """Return the first index at or after `start` where `pattern` stands in `lines`, or None.

    With `at_end` the very end is tried first. An empty pattern is found at `start`.
    """
    if not pattern:
        return start
    last = len(lines) - len(pattern)
    if last < 0:
        return None
    for form in _PASSES:
        wanted = [form(line) for line in pattern]
        have = [form(line) for line in lines]
        if at_end and last >= start and have[last:] == wanted:
            return last
        for index in range(start, last + 1):
            if have[index] == wanted[0] and have[index : index + len(wanted)] == wanted:
                return index
    return None


def update_text(path: str, text: str, chunks: Sequence[Chunk]) -> str:
    """Return `text` with all chunks applied; its line endings are kept and it ends with a newline.

    Raises:
        PatchError: a chunk's place is not found; the message shows the nearest lines of the file.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if len(lines) > MAX_LINES:
        raise PatchError(f"{path} has {len(lines):,} lines, too many for a patch", "Use a command instead")
    replacements: list[tuple[int, int, Sequence[str]]] = []
    cursor = 0
    for chunk in chunks:
        start, length, new = _place(path, lines, chunk, cursor)
        replacements.append((start, length, new))
        cursor = max(cursor, start + length)
    for start, length, new in sorted(replacements, key=lambda item: item[0], reverse=True):
        lines[start : start + length] = new
    return newline.join(lines) + newline if lines else ""


def _place(path: str, lines: list[str], chunk: Chunk, cursor: int) -> tuple[int, int, Sequence[str]]:
    for context in chunk.contexts:
        found = seek(lines, [context], cursor)
        if found is None:
            raise PatchError(
                f"{path}: no line matches the context '@@ {context}'", _nearest(lines, [context])
            )
        cursor = found + 1
    if not chunk.old:
        return len(lines), 0, chunk.new
    old, new = list(chunk.old), list(chunk.new)
    found = seek(lines, old, cursor, chunk.at_end)
    if found is None and old[-1] == "":
        # A blank line before the next chunk is often layout, not context.
        old.pop()
        if new and new[-1] == "":
            new.pop()
        found = seek(lines, old, cursor, chunk.at_end) if old else None
    if found is None:
        expected = "\n".join(chunk.old)
        raise PatchError(f"{path}: these lines were not found:\n{expected}", _nearest(lines, old))
    return found, len(old), new


def _nearest(lines: Sequence[str], pattern: Sequence[str]) -> str:
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
    shown = lines[first : first + max(size + 2, NEAREST_LINES)]
    body = "\n".join(f"{first + offset + 1}: {line}" for offset, line in enumerate(shown))
    return f"The nearest lines of the file are:\n{body}"


def _candidates(lines: Sequence[str], pattern: Sequence[str]) -> Sequence[int]:
    """Return where the pattern may have been meant to begin, as many places as may be compared.

    In a long file these are the places where one of its lines stands.
    """
    windows = max(1, len(lines) - len(pattern) + 1)
    most = _COMPARISONS // max(1, min(len(pattern), _COMPARED_LINES))
    if windows <= most:
        return range(windows)
    offsets = {line.strip(): offset for offset, line in reversed(list(enumerate(pattern))) if line.strip()}
    found = {
        min(max(0, index - offset), windows - 1)
        for index, line in enumerate(lines)
        if (offset := offsets.get(line.strip())) is not None
    }
    return sorted(found)[:most] or range(most)
