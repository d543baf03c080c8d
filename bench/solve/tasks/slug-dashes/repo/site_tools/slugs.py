"""Turns titles into addresses."""

import unicodedata

_KEPT = "abcdefghijklmnopqrstuvwxyz0123456789"


def plain(text):
    """Return the text without accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def slugify(title, separator="-"):
    """Return lower-case letters and digits of the title, words joined by the separator."""
    result = []
    for character in plain(title).lower():
        if character in _KEPT:
            result.append(character)
        else:
            result.append(separator)
    return "".join(result)


def unique_slug(title, taken):
    """Return a slug that is not taken yet, numbered when it has to be."""
    base = slugify(title) or "page"
    if base not in taken:
        return base
    number = 2
    while f"{base}-{number}" in taken:
        number += 1
    return f"{base}-{number}"


def slug_path(*titles):
    """Return the address of nested pages."""
    return "/" + "/".join(slugify(title) for title in titles)
