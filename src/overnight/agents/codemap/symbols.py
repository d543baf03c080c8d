"""Looking a name up: where it is defined, and which lines refer to it."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from overnight.agents.codemap.code_map import CodeMap, Files
from overnight.agents.codemap.tags import Definition, printable
from overnight.agents.repair.codebase import is_test
from overnight.environments.interface import Workspace

MAX_DEFINITIONS: Final = 50
MAX_FILES: Final = 40
"""Files whose lines are searched for references."""
MAX_LINES: Final = 100
MAX_LINE: Final = 200
MAX_NEAR: Final = 10

_SEPARATORS: Final = re.compile(r"::|[.#:/]")


class Place(msgspec.Struct, frozen=True):
    """A line of a file."""

    path: str
    line: int
    text: str


class Symbol(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a name."""

    name: str
    definitions: tuple[Place, ...] = ()
    references: tuple[Place, ...] = ()
    files: int = 0
    """How many files refer to it."""
    near: tuple[str, ...] = ()
    """Names like it, where nothing has this one."""


async def find_symbol(
    code: CodeMap, wanted: str, workspace: Workspace | None = None, below: str = ""
) -> Symbol:
    """Return where `wanted` (`name`, or with its scope as `Class.name`) is defined and referred to.

    `below` is a file or directory to look in; empty: everywhere.

    Raises:
        OvernightError: as `CodeMap.draw`.
    """
    parts = [part.strip() for part in _SEPARATORS.split(wanted.strip().removesuffix("()")) if part.strip()]
    name = parts[-1] if parts else ""
    if not name:
        return Symbol(name=wanted)
    files = await code.files(workspace)
    needle = f"\n{name}\n"
    inside = [(path, names) for path, names in sorted(files.names.items()) if _is_below(path, below)]
    defining = [path for path, names in inside if needle in names.defines]
    referring = [path for path, names in inside if needle in names.refers]
    if not defining and not referring:
        return Symbol(name=name, near=_near(files, name))
    known = code.definitions(files, defining[: 4 * MAX_DEFINITIONS])
    definitions = _defined(known, name, parts[:-1])
    mentions = {path: _count(files, path, name) for path in referring}
    best = sorted(referring, key=lambda path: (is_test(path), -mentions[path], path))[:MAX_FILES]
    contents = await code.read(files, best, workspace)
    taken = {(place.path, place.line) for place in definitions}
    references = [
        place
        for path in best
        for place in _mentions(path, contents.get(path, b""), name)
        if (path, place.line) not in taken
    ]
    return Symbol(
        name=name,
        definitions=tuple(definitions[:MAX_DEFINITIONS]),
        references=tuple(references[:MAX_LINES]),
        files=len(referring),
    )


def _is_below(path: str, folder: str) -> bool:
    wanted = folder.removeprefix("./").rstrip("/")
    return not wanted or path == wanted or path.startswith(f"{wanted}/")


def _defined(known: dict[str, Sequence[Definition]], name: str, scopes: Sequence[str]) -> list[Place]:
    found: list[tuple[bool, Place]] = []
    for path, definitions in sorted(known.items()):
        for definition in definitions:
            if definition.name != name or definition.kind == "scope":
                continue
            held: set[str] = set()
            scope = definition.scope
            while scope >= 0 and len(held) < len(definitions):
                held.add(definitions[scope].name)
                scope = definitions[scope].scope
            inside = set(scopes) <= held
            found.append((inside, Place(path, definition.line, definition.signature)))
    # A scope that is a module or a file's name is no definition: then it says nothing.
    exact = [place for inside, place in found if inside]
    return exact or [place for _, place in found]


def _count(files: Files, path: str, name: str) -> int:
    names = files.names[path]
    return names.counts[names.refers.split("\n").index(name) - 1]


def _mentions(path: str, content: bytes, name: str) -> list[Place]:
    pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    lines = content.decode("utf-8", "replace").split("\n")
    return [
        Place(path, number, printable(line.strip()[:MAX_LINE]))
        for number, line in enumerate(lines, start=1)
        if pattern.search(line)
    ]


def _near(files: Files, name: str) -> tuple[str, ...]:
    low = name.lower()
    pattern = re.compile(rf"\n([^\n]*{re.escape(low)}[^\n]*)(?=\n)", re.IGNORECASE)
    found: dict[str, None] = {}
    for _, names in sorted(files.names.items()):
        for match in pattern.findall(names.defines):
            found[match] = None
        if len(found) > 20 * MAX_NEAR:
            break
    return tuple(sorted(found, key=lambda one: (len(one), one))[:MAX_NEAR])
