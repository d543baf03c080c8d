"""Words of a text, as the search sees them."""

import re

_WORD = re.compile(r"\w+")
_IGNORED = frozenset({"a", "an", "and", "of", "or", "the", "to"})


def words(text):
    """Return the words in lower case, without those that everybody uses."""
    return [word for word in _WORD.findall(text.lower()) if word not in _IGNORED]


def snippet(text, word, around=12):
    """Return a piece of the text about a word."""
    at = text.lower().find(word.lower())
    if at < 0:
        return text[: 2 * around]
    start = max(0, at - around)
    return text[start : at + len(word) + around].strip()
