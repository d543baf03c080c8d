"""Which files and definitions matter: a random walk over references, restarted where the task points to.

Personalised PageRank (Page et al. 1999; Haveliwala 2002) on a graph with two kinds of nodes: a file leads to
the names that it refers to, a name to the files that define it. So the graph has as many edges as there are
references, however many files define a common name. Deterministic: every loop follows sorted paths.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import log, sqrt
from typing import Final

import msgspec

from overnight.agents.codemap.cache import Names
from overnight.agents.codemap.focus import Focus, subwords
from overnight.agents.repair.codebase import is_test

DAMPING: Final = 0.5
ROUNDS: Final = 6
"""A half to the sixth is below 2 %: more rounds change no order that shows."""
SEEDED: Final = 0.85
"""How much of the restarts goes to what the task points to; the rest goes everywhere."""
TEST_WEIGHT: Final = 0.2
CODED, PLAIN = 8.0, 2.0
"""How much more a reference counts to a name that the task gives as code, or as a word."""
OWN: Final = 1.0
"""How much of a file's rank its definitions get together, referred to or not."""
BEST_NAMES: Final = 5
"""How many of a file's names that the task points to count for the file."""

_EVERYDAY_WORDS: Final = """
add all any append apply args assert bind bool build bytes call clear clone close collect compile
contains copy count create data date datetime debug decode default delete dict each encode end entries
equals error every exec execute exists exit extend filter find first flush forEach format from func
function get getattr handle has hash hashCode id index indexOf info init input insert int into is
isEmpty isinstance item items iter iterator join key keys kwargs last len length limit line lines list
load log lower main map match max message min name new next none number object ok open options order
parse path pop position print process push put range read reduce ref remove render repeat replace
request require reset resolve response result return reverse run save search self send set setattr setup
shift size sleep slice sort sorted source split start state stats status step stop str strip sub sum
super sync tail take tell test text then this time title toString to_s trim tuple type unwrap update
upper url user utf8 value values version view wait warn warning with wrap write zip
"""
EVERYDAY: Final = frozenset(_EVERYDAY_WORDS.split())
"""Names of built-in functions and of methods that everything has: a reference is most likely to those."""


class Ranked(msgspec.Struct, frozen=True):
    """How much a file matters, and the definitions in it, by name."""

    path: str
    score: float
    names: Mapping[str, float]


class Graph:
    """Files and the names between them. Names are numbers inside: this runs over every reference there is."""

    def __init__(self, files: Mapping[str, Names]) -> None:
        self.paths: list[str] = sorted(files)
        self._names: dict[str, int] = {}
        self._defines: list[list[str]] = []
        self._definers: list[list[int]] = []
        """By name: the files that define it."""
        for index, path in enumerate(self.paths):
            defined = files[path].defines.split("\n")[1:-1]
            self._defines.append(defined)
            for name in defined:
                number = self._names.setdefault(name, len(self._definers))
                if number == len(self._definers):
                    self._definers.append([])
                self._definers[number].append(index)
        self._edges = [self._edges_of(index, files[path]) for index, path in enumerate(self.paths)]
        self._tests = [is_test(path) for path in self.paths]

    def _edges_of(self, index: int, names: Names) -> list[tuple[int, float]]:
        known, definers, here = self._names, self._definers, [index]
        found: list[tuple[int, float]] = []
        for name, count in zip(names.refers.split("\n")[1:-1], names.counts, strict=True):
            number = known.get(name)
            if number is not None and definers[number] != here:
                found.append((number, sqrt(count)))
        return found

    def rank(self, focus: Focus) -> list[Ranked]:
        """Return the files with a score, best first; equal ones by path."""
        if not self.paths:
            return []
        boosts = self._boosts(focus)
        restart = self._restart(focus, boosts)
        edges = self._weighted(boosts)
        used = sorted({number for numbers, _ in edges for number in numbers})
        rank, flow = restart, [0.0] * len(self._definers)
        for _ in range(ROUNDS):
            flow = self._flow(rank, edges)
            rank = [(1.0 - DAMPING) * value for value in restart]
            kept = 0.0
            for number in used:
                value = flow[number]
                kept += value
                definers = self._definers[number]
                each = DAMPING * value / len(definers)
                for index in definers:
                    rank[index] += each
            # What no reference leads on starts again.
            lost = DAMPING * max(0.0, 1.0 - kept)
            rank = [value + lost * start for value, start in zip(rank, restart, strict=True)]
        return self._sorted(rank, flow, boosts)

    def _flow(self, rank: Sequence[float], edges: Sequence[tuple[list[int], list[float]]]) -> list[float]:
        """Return what each name gets from the files that refer to it."""
        flow = [0.0] * len(self._definers)
        for value, (numbers, weights) in zip(rank, edges, strict=True):
            for number, weight in zip(numbers, weights, strict=True):
                flow[number] += value * weight
        return flow

    def _weighted(self, boosts: Mapping[str, float]) -> list[tuple[list[int], list[float]]]:
        """Return the edges with weights that add up to one for each file."""
        says = [self._rarity(name) * boosts.get(name, 1.0) for name in self._names]
        weighted: list[tuple[list[int], list[float]]] = []
        for out in self._edges:
            weights = [count * says[number] for number, count in out]
            total = sum(weights) or 1.0
            weighted.append(([number for number, _ in out], [weight / total for weight in weights]))
        return weighted

    def _rarity(self, name: str) -> float:
        """Return how much a name says: little when many files define it, or when it is everybody's."""
        common = name in EVERYDAY or name.startswith("_") or len(name) < 3
        return (0.1 if common else 1.0) / (1.0 + log(len(self._definers[self._names[name]])))

    def _boosts(self, focus: Focus) -> dict[str, float]:
        """Return by how much more the names count that the task mentions or whose words it uses."""
        boosts = {
            name: CODED if name in focus.coded else PLAIN for name in focus.names if name in self._names
        }
        if not focus.words:
            return boosts
        parts = self._parts(focus, self._names)
        told = _told(parts)
        for name in parts:
            boosts[name] = boosts.get(name, 1.0) * (1.0 + 3.0 * told[name])
        return boosts

    def _parts(self, focus: Focus, texts: Iterable[str]) -> dict[str, list[str]]:
        """Return which of the task's words each text has, of those that have any; in a fixed order."""
        wanted = frozenset(focus.words)
        return {text: sorted(found) for text in texts if (found := wanted.intersection(subwords(text)))}

    def _restart(self, focus: Focus, boosts: Mapping[str, float]) -> list[float]:
        gained: list[list[float]] = [[] for _ in self.paths]
        for name, boost in boosts.items():
            definers = self._definers[self._names[name]]
            for index in definers:
                gained[index].append((boost - 1.0) / len(definers))
        told = _told(self._parts(focus, self.paths))
        seeds = [0.0] * len(self.paths)
        for index, path in enumerate(self.paths):
            # Not more for a file because it is large.
            seeds[index] = sum(sorted(gained[index])[-BEST_NAMES:]) + CODED * told.get(path, 0.0)
            if self._tests[index]:
                seeds[index] *= TEST_WEIGHT
        for index in self._named(focus.paths):
            seeds[index] += 2 * CODED
        touched = frozenset(focus.touched)
        for index, path in enumerate(self.paths):
            if path in touched:
                seeds[index] += 2 * CODED
        everywhere = [TEST_WEIGHT if test else 1.0 for test in self._tests]
        total, pointed = sum(everywhere), sum(seeds)
        part = SEEDED if pointed else 0.0
        return [
            (1.0 - part) * base / total + (part * seed / pointed if pointed else 0.0)
            for base, seed in zip(everywhere, seeds, strict=True)
        ]

    def _named(self, wanted: Sequence[str]) -> list[int]:
        """Return the files that paths or file names in the task stand for."""
        by_name: dict[str, list[int]] = {}
        for index, path in enumerate(self.paths):
            by_name.setdefault(path.rsplit("/", 1)[-1], []).append(index)
        found: list[int] = []
        for text in wanted:
            same = by_name.get(text.rsplit("/", 1)[-1], [])
            # A traceback has the path of another machine: the longest common end counts.
            common = {index: _common_end(self.paths[index], text) for index in same}
            best = max(common.values(), default=0)
            if "/" in text or len(same) <= 3:
                found += [index for index in same if common[index] == best]
        return found

    def _sorted(
        self, rank: Sequence[float], flow: Sequence[float], boosts: Mapping[str, float]
    ) -> list[Ranked]:
        ranked: list[Ranked] = []
        for index, path in enumerate(self.paths):
            weight = TEST_WEIGHT if self._tests[index] else 1.0
            total = sum(boosts.get(name, 1.0) for name in self._defines[index]) or 1.0
            own = OWN * rank[index] / total
            names: dict[str, float] = {}
            for name in self._defines[index]:
                number = self._names[name]
                share = flow[number] / len(self._definers[number])
                names[name] = round(weight * (share + own * boosts.get(name, 1.0)), 12)
            ranked.append(Ranked(path, round(weight * rank[index], 12), names))
        return sorted(ranked, key=lambda one: (-one.score, one.path))


def _told(parts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return how much the words of each text say: rare ones much, and several more than one."""
    frequency: dict[str, int] = {}
    for found in parts.values():
        for word in found:
            frequency[word] = frequency.get(word, 0) + 1
    most = log(2 + len(parts))
    says = {word: (log((2 + len(parts)) / (1 + count)) / most) ** 2 for word, count in frequency.items()}
    return {text: sum(says[word] for word in found) * len(found) for text, found in parts.items()}


def _common_end(first: str, second: str) -> int:
    pairs = zip(reversed(first.split("/")), reversed(second.split("/")), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count
