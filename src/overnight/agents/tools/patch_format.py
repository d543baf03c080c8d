"""The apply_patch format (V4A): from text to sections, leniently where models differ, strictly elsewhere."""

import re
from typing import Literal

import msgspec

from overnight.domain.errors import PatchError

BEGIN = "*** Begin Patch"
END = "*** End Patch"
ADD = "*** Add File: "
DELETE = "*** Delete File: "
UPDATE = "*** Update File: "
MOVE = "*** Move to: "
END_OF_FILE = "*** End of File"
HEREDOC_OPENINGS = ("<<EOF", "<<'EOF'", '<<"EOF"')


MAX_CHARACTERS = 8 * 1024**2
"""A longer text is no patch that a model wrote."""


class Line(msgspec.Struct, frozen=True):
    """A line of a chunk: context, removed or added."""

    kind: Literal[" ", "-", "+"]
    text: str


class Chunk(msgspec.Struct, frozen=True):
    """One replacement: find `contexts` one after the other, then `old`, and do with it as `lines` say."""

    contexts: tuple[str, ...]
    lines: tuple[Line, ...]
    at_end: bool = False

    @property
    def old(self) -> tuple[str, ...]:
        """The lines that must be there: context and removed ones."""
        return tuple(line.text for line in self.lines if line.kind != "+")


class AddFile(msgspec.Struct, frozen=True, tag=True):
    """A new file with its text."""

    path: str
    text: str


class DeleteFile(msgspec.Struct, frozen=True, tag=True):
    """A file to remove."""

    path: str


class UpdateFile(msgspec.Struct, frozen=True, tag=True):
    """Replacements in a file, which may move as well."""

    path: str
    move_to: str | None
    chunks: tuple[Chunk, ...]


Section = AddFile | DeleteFile | UpdateFile

_SHELL_FORM = re.compile(
    r"""\s*(?:cd\s+(?P<directory>[\w./-]+)\s*&&\s*)?apply_?patch\s*<<-?\s*"""
    r"""(?P<quote>['"]?)(?P<tag>\w+)(?P=quote)[ \t]*\n"""
    r"""(?P<patch>.*?)\n[ \t]*(?P=tag)\s*""",
    re.DOTALL,
)


class ShellPatch(msgspec.Struct, frozen=True):
    """A patch that came as a shell command; `directory` is where its paths start."""

    directory: str
    patch: str


def from_shell(script: str) -> ShellPatch | None:
    """Return the patch of `apply_patch <<'EOF' … EOF`, after an optional `cd DIR &&`, else None."""
    found = _SHELL_FORM.fullmatch(script)
    if found is None:
        return None
    return ShellPatch(directory=found["directory"] or "", patch=found["patch"])


def parse_patch(text: str) -> tuple[Section, ...]:
    """Return the sections of a patch.

    Raises:
        PatchError: the text is no patch; the message names the line and what was expected there.
    """
    if len(text) > MAX_CHARACTERS:
        raise PatchError(f"The patch has {len(text):,} characters, more than {MAX_CHARACTERS:,}")
    lines = _unwrap(_lines(text.strip()))
    if not lines or lines[0].strip() != BEGIN:
        raise PatchError(f"The first line of a patch must be '{BEGIN}'")
    if lines[-1].strip() != END:
        raise PatchError(f"The last line of a patch must be '{END}'")
    reader = _Reader(lines[1:-1])
    sections: list[Section] = []
    while not reader.done():
        if reader.peek().strip():
            sections.append(_section(reader))
        else:
            reader.take()
    if not sections:
        raise PatchError("The patch is empty", "Add a section such as '*** Update File: PATH'")
    return tuple(sections)


def _lines(text: str) -> list[str]:
    """Return the lines; form feeds and the like are part of a line. Where all end in CR LF, CR goes."""
    lines = text.split("\n")
    if len(lines) > 1 and all(line.endswith("\r") for line in lines[:-1]):
        return [line.removesuffix("\r") for line in lines]
    return lines


def _unwrap(lines: list[str]) -> list[str]:
    """Strip a heredoc wrapper that some models put around the patch."""
    if len(lines) >= 4 and lines[0].strip() in HEREDOC_OPENINGS and lines[-1].strip() == "EOF":
        return lines[1:-1]
    return lines


class _Reader:
    """A cursor over lines that knows its line number, counted from the patch's first line."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0

    def done(self) -> bool:
        return self.at >= len(self.lines)

    def peek(self) -> str:
        return self.lines[self.at]

    def take(self) -> str:
        self.at += 1
        return self.lines[self.at - 1]

    def error(self, message: str) -> PatchError:
        return PatchError(f"Line {self.at + 2} of the patch: {message}")


def _section(reader: _Reader) -> Section:
    header = reader.peek().strip()
    if header.startswith(ADD):
        reader.take()
        return _add(reader, _path(reader, header, ADD))
    if header.startswith(DELETE):
        reader.take()
        return DeleteFile(_path(reader, header, DELETE))
    if header.startswith(UPDATE):
        reader.take()
        return _update(reader, _path(reader, header, UPDATE))
    wanted = " or ".join(f"'{marker.strip()} PATH'" for marker in (ADD, DELETE, UPDATE))
    raise reader.error(f"expected {wanted}, got {header!r:.200}")


def _path(reader: _Reader, line: str, marker: str) -> str:
    path = line[len(marker) :].strip()
    if not path:
        raise reader.error(f"'{marker.strip()}' needs a path")
    return path


def _add(reader: _Reader, path: str) -> AddFile:
    text: list[str] = []
    while not reader.done() and reader.peek().startswith("+"):
        text.append(reader.take()[1:] + "\n")
    if not text:
        raise reader.error(f"'{ADD.strip()} {path}' needs at least one line that starts with '+'")
    return AddFile(path, "".join(text))


def _update(reader: _Reader, path: str) -> UpdateFile:
    move_to = None
    if not reader.done() and reader.peek().strip().startswith(MOVE):
        move_to = _path(reader, reader.take().strip(), MOVE)
    chunks: list[Chunk] = []
    while not reader.done():
        if not reader.peek().strip():
            reader.take()
            continue
        if reader.peek().startswith("*"):
            break
        chunks.append(_chunk(reader, first=not chunks))
    if not chunks and move_to is None:
        raise reader.error(f"the update of '{path}' has no changes")
    return UpdateFile(path, move_to, tuple(chunks))


def _chunk(reader: _Reader, first: bool) -> Chunk:
    contexts: list[str] = []
    opened = False
    while not reader.done() and _is_opening(reader.peek()):
        opened = True
        context = reader.take().rstrip()[2:].removeprefix(" ")
        if context:
            contexts.append(context)
    if not opened and not first:
        raise reader.error(f"expected '@@' before the next chunk, got {reader.peek()!r:.200}")
    lines: list[Line] = []
    at_end = False
    while not reader.done():
        line = reader.peek()
        if line.strip() == END_OF_FILE:
            reader.take()
            at_end = True
            break
        if line == "":
            lines.append(Line(" ", ""))
        elif (kind := line[0]) in (" ", "-", "+"):
            lines.append(Line(kind, line[1:]))
        else:
            break
        reader.take()
    if not lines:
        got = reader.peek() if not reader.done() else "the end of the patch"
        raise reader.error(f"a line of a chunk must start with ' ', '-' or '+', got {got!r:.200}")
    return Chunk(tuple(contexts), tuple(lines), at_end)


def _is_opening(line: str) -> bool:
    stripped = line.rstrip()
    return stripped == "@@" or stripped.startswith("@@ ")
