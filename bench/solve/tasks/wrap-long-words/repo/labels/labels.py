"""A label as it is printed."""

from labels.wrapping import centre, shorten, wrap


def label(title, body, width=16, height=4):
    """Return the lines of a label: a centred title, then the body."""
    lines = [centre(shorten(title, width), width)]
    lines += wrap(body, width)
    return lines[:height]


def framed(lines, width):
    edge = "+" + "-" * width + "+"
    return [edge, *(f"|{line:<{width}}|" for line in lines), edge]
