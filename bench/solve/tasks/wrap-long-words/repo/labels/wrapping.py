"""Breaks text into lines of limited width."""


def wrap(text, width):
    """Return the lines of a text; words are kept whole where they fit."""
    if width < 1:
        raise ValueError("width must be positive")
    lines = []
    line = ""
    for word in text.split():
        if not line:
            line = word
        elif len(line) + 1 + len(word) <= width:
            line += " " + word
        else:
            lines.append(line)
            line = word
    if line:
        lines.append(line)
    return lines


def shorten(text, width):
    """Return the text cut to a width, with dots when something is missing."""
    if len(text) <= width:
        return text
    return text[: max(0, width - 3)].rstrip() + "..."[: min(3, width)]


def centre(text, width):
    """Return the text in the middle of a line."""
    left = (width - len(text)) // 2
    return " " * max(0, left) + text
