"""A map as text: definitions that matter, under their files and scopes, within a budget of tokens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from overnight.agents.codemap.graph import Ranked
from overnight.agents.codemap.tags import Definition

MAX_FILES: Final = 400
"""Files whose definitions are looked at; a budget that needs more is no budget."""
MAX_PER_FILE: Final = 30
MISSES: Final = 20
"""So many lines in a row that do not fit end the search for shorter ones."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the map and what is shown of it, in the order of its lines."""

    path: str
    score: float
    definitions: tuple[Definition, ...]


class RepositoryMap(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent sees of a repository at first."""

    files: tuple[Shown, ...]
    text: str
    tokens: int
    """An estimate; see `estimate_tokens`."""


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` is, rather too many: models differ, and none is asked."""
    return (len(text.encode("utf-8", "replace")) * 10 + 32) // 33


def draw(
    ranked: Sequence[Ranked],
    definitions_of: Callable[[Sequence[str]], Mapping[str, Sequence[Definition]]],
    tokens: int,
) -> RepositoryMap:
    """Return the best map of at most `tokens` tokens. `definitions_of` gets paths."""
    best = ranked[:MAX_FILES]
    definitions = definitions_of([one.path for one in best])
    order = {one.path: place for place, one in enumerate(best)}
    chosen: dict[str, set[int]] = {}
    left = tokens * 33 // 10
    misses = 0
    for path, index in _by_score(best, definitions):
        taken = chosen.get(path, set[int]())
        added = _with_scopes(definitions[path], index) - taken
        cost = sum(_size(_line(definitions[path], one)) for one in sorted(added))
        cost += 0 if taken else _size(path) + 1
        if cost > left:
            misses += 1
            if misses >= MISSES:
                break
            continue
        misses = 0
        left -= cost
        chosen[path] = taken | added
    files: list[Shown] = []
    lines: list[str] = []
    for path in sorted(chosen, key=order.__getitem__):
        picked = sorted(chosen[path])
        lines.append(f"{path}:")
        lines += [_line(definitions[path], one) for one in picked]
        shown = tuple(definitions[path][one] for one in picked)
        files.append(Shown(path=path, score=best[order[path]].score, definitions=shown))
    text = "".join(f"{line}\n" for line in lines)
    return RepositoryMap(files=tuple(files), text=text, tokens=estimate_tokens(text))


def _by_score(
    ranked: Iterable[Ranked], definitions: Mapping[str, Sequence[Definition]]
) -> list[tuple[str, int]]:
    """Return (path, number of the definition), best first."""
    scored: list[tuple[float, str, int]] = []
    for one in ranked:
        mine: list[tuple[float, str, int]] = []
        seen: set[str] = set()
        for index, definition in enumerate(definitions.get(one.path, ())):
            # Overloads have one name: the first stands for all.
            if definition.kind != "scope" and definition.name not in seen:
                seen.add(definition.name)
                mine.append((-one.names.get(definition.name, 0.0), one.path, index))
        scored += sorted(mine)[:MAX_PER_FILE]
    return [(path, index) for _, path, index in sorted(scored)]


def _with_scopes(definitions: Sequence[Definition], index: int) -> set[int]:
    found: set[int] = set()
    while index >= 0 and index not in found:
        found.add(index)
        index = definitions[index].scope
    return found


def _line(definitions: Sequence[Definition], index: int) -> str:
    definition = definitions[index]
    depth = len(_with_scopes(definitions, index))
    return f"{definition.line:>5}{'  ' * depth}{definition.signature or definition.name}"


def _size(line: str) -> int:
    return len(line.encode("utf-8", "replace")) + 1
