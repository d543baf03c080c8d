"""Limits from options: `--limits name=value,…`, and the short options for the usual ones."""

from overnight.domain.errors import UsageError
from overnight.domain.limits import check_limits, read_limits


def named_limits(text: str, *short: tuple[str, str, str | None]) -> dict[str, float]:
    """Return the limits that `--limits` sets and those of short options: (option, limit, value).

    Raises:
        UsageError: a name is unknown, a value is no quantity of its kind, or a limit is set twice.
    """
    values = read_limits(text, "--limits")
    for option, name, value in short:
        if value is None:
            continue
        if name in values:
            raise UsageError(f"{name} is set twice", f"Set it by --limits or by {option}, not by both.")
        values |= check_limits({name: value}, option)
    return values
