"""What a task is about, as far as its text tells: names, words and paths."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

MAX_TEXT: Final = 100_000
"""Characters of a text that are read."""

_IDENTIFIER: Final = re.compile(r"[^\W\d]\w{2,99}")
_PATH: Final = re.compile(r"[\w.+@-]+(?:/[\w.+@-]+)+|[\w+@-]+\.\w{1,5}\b")
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_QUOTED: Final = re.compile(r"`([^`\n]{1,200})`|(\w+)\(")

_COMMON_WORDS: Final = """
a about add added after all also an and any are as at be before bug but by call called can change class
code could def do does error exception expected fail failed fails file files fix fixed for from function
get has have he how if import in instead into is issue it its just like line make method must new no not
object of on only or other our return returns raise raises see self set should so some string test tests
than that the their them then there these they this to traceback true false none type use used using
value want was we were what when where which while why will with without work would you your
"""
COMMON: Final = frozenset(_COMMON_WORDS.split())
"""Words that say nothing about where to look."""


class Focus(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for. Empty: nothing in particular."""

    names: tuple[str, ...] = ()
    """Identifiers as the text writes them."""
    coded: frozenset[str] = frozenset()
    """Those of `names` that are code for sure: by their form, by quotes, or called."""
    words: tuple[str, ...] = ()
    """Lower-case words and parts of names."""
    paths: tuple[str, ...] = ()
    """What looks like a path, or a file's name."""
    touched: tuple[str, ...] = ()
    """Files that were changed or opened already."""


def read_focus(text: str, touched: Iterable[str] = ()) -> Focus:
    """Return what a task's text (a prompt, a traceback) is about."""
    text = text[:MAX_TEXT]
    quoted = " ".join(first or second for first, second in _QUOTED.findall(text))
    marked = set(_IDENTIFIER.findall(quoted))
    names = tuple(dict.fromkeys(_IDENTIFIER.findall(text)))
    coded = frozenset(
        name
        for name in names
        if name in marked or "_" in name.strip("_") or (not name.islower() and not name[1:].islower())
    )
    words = dict.fromkeys(word for name in names for word in subwords(name))
    return Focus(
        names=tuple(name for name in names if name in coded or name.lower() not in COMMON),
        coded=coded,
        words=tuple(word for word in words if word not in COMMON),
        paths=tuple(dict.fromkeys(_PATH.findall(text))),
        touched=tuple(touched),
    )


def subwords(name: str) -> list[str]:
    """Return the words of an identifier or a path, in lower case: `parseHTTPBody` → parse, http, body."""
    return [stem(part) for part in _PARTS.findall(name) if len(part) > 2]


def stem(word: str) -> str:
    """Return a word in lower case without a plural's ending."""
    low = word.lower()
    return low[:-1] if len(low) > 3 and low.endswith("s") and not low.endswith("ss") else low
