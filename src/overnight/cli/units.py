"""Times and sizes as people write them."""

import re

from overnight.domain.errors import UsageError

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def parse_seconds(text: str) -> float:
    """Return seconds of `90`, `90s`, `10m`, `1h` or `1h30m`.

    Raises:
        UsageError: it is none of these, or not above zero.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip().lower())
    spelled = "".join(number + unit for number, unit in parts)
    total = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if spelled != text.strip().lower().replace(" ", "") or total <= 0:
        raise UsageError(f"{text!r} is not a time", "Write it as 90s, 10m or 1h")
    return total


def parse_bytes(text: str) -> int:
    """Return bytes of `1000`, `512m` or `4g`, in units of 1024.

    Raises:
        UsageError: it is none of these, or not above zero.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(found[1]) * BYTES[found[2]]) if found else 0
    if size <= 0:
        raise UsageError(f"{text!r} is not a size", "Write it as 512m or 4g")
    return size


def show_bytes(size: float) -> str:
    """Return a size as people read it: `1.1 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def show_seconds(seconds: float) -> str:
    """Return a time as people read it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
