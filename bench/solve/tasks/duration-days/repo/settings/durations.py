"""Lengths of time as people write them."""

import re

_PART = re.compile(r"(\d+)([a-z]+)")


class DurationError(ValueError):
    """Not a length of time."""


def parse_duration(text):
    """Return the seconds of a text such as `1h30m`; a bare number means seconds."""
    text = text.strip().lower()
    if text.isdigit():
        return int(text)
    seconds = 0
    position = 0
    for match in _PART.finditer(text):
        if match.start() != position:
            raise DurationError(f"cannot read {text!r}")
        position = match.end()
        amount, unit = int(match[1]), match[2]
        if unit == "h":
            seconds += amount * 3600
        elif unit == "m":
            seconds += amount * 60
        elif unit == "s":
            seconds += amount
        else:
            raise DurationError(f"unknown unit {unit!r} in {text!r}")
    if position == 0 or position != len(text):
        raise DurationError(f"cannot read {text!r}")
    return seconds


def format_duration(seconds):
    """Return the shortest text for whole seconds."""
    parts = []
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        amount, seconds = divmod(seconds, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
