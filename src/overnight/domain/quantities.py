"""Times, sizes and counts as people write them: one reader for options, variables and files."""

import re

from overnight.domain.errors import UsageError

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
MAX_TEXT = 40
"""A longer text is no quantity; long digits would cost time, or overflow."""


def parse_seconds(text: str) -> float:
    """Return seconds of `90`, `90s`, `10m`, `1h` or `1h30m`.

    Raises:
        UsageError: it is none of these, or not above zero.
    """
    plain = text.strip().lower().replace(" ", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", plain) if len(plain) <= MAX_TEXT else []
    total = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != plain or total <= 0:
        raise UsageError(f"{_shown(text)} is not a time", "Write it as 90s, 10m or 1h")
    return total


def parse_bytes(text: str) -> int:
    """Return bytes of `1000`, `512m` or `4g`, in units of 1024.

    Raises:
        UsageError: it is none of these, or not above zero.
    """
    plain = text.strip().lower()
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", plain) if len(plain) <= MAX_TEXT else None
    size = int(float(found[1]) * BYTES[found[2]]) if found else 0
    if size <= 0:
        raise UsageError(f"{_shown(text)} is not a size", "Write it as 512m or 4g")
    return size


def parse_count(text: str) -> int:
    """Return a whole number above zero, as `512` or `5_000_000`.

    Raises:
        UsageError: it is none.
    """
    plain = text.strip()
    found = re.fullmatch(r"[0-9]+(?:[_,][0-9]{3})*", plain) if len(plain) <= MAX_TEXT else None
    count = int(re.sub(r"[_,]", "", plain)) if found else 0
    if count <= 0:
        raise UsageError(f"{_shown(text)} is not a number", "Write a whole number above 0, such as 512")
    return count


def parse_amount(text: str) -> float:
    """Return an amount of money above zero, as `20`, `0.5` or `$5`.

    Raises:
        UsageError: it is none.
    """
    plain = text.strip().removeprefix("$")
    found = re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", plain) if len(plain) <= MAX_TEXT else None
    amount = float(plain) if found else 0.0
    if amount <= 0:
        raise UsageError(f"{_shown(text)} is not an amount of money", "Write it as 20 or 0.5")
    return amount


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…")
