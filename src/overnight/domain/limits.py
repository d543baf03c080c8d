"""Bounds of an attempt: their names, how people set them, and how a repository may only lower them."""

import difflib
from collections.abc import Mapping

import msgspec

from overnight.domain.errors import UsageError
from overnight.domain.quantities import parse_amount, parse_bytes, parse_count, parse_seconds

MOST = 2**50
"""No limit is larger: kernels and databases take it as it is."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one attempt; each one that is reached is a `limit.hit` event with the field's name.

    Seconds, bytes, US dollars and counts, as the names say.
    """

    attempt_seconds: float = 1800.0
    command_seconds: float = 300.0
    memory_bytes: int = 4 * 1024**3
    cpu_seconds: float = 3600.0
    processes: int = 512
    open_files: int = 8192
    output_bytes: int = 8 * 1024**2
    output_bytes_per_second: int = 64 * 1024**2
    file_bytes: int = 1024**3
    disk_bytes: int = 4 * 1024**3
    home_bytes: int = 64 * 1024**2
    steps: int = 200
    tokens: int = 5_000_000
    model_silence_seconds: float = 300.0
    cost_usd: float = 20.0
    repeats: int = 3
    result_characters: int = 10_000
    background_commands: int = 8
    image_bytes: int = 5 * 1024**2
    image_pixels: int = 16_000_000
    egress_connections: int = 128
    egress_rate: int = 1000
    egress_requests: int = 20_000
    egress_bytes_up: int = 64 * 1024**2
    egress_idle_seconds: float = 120.0
    map_tokens: int = 3000
    map_files: int = 50_000
    map_file_bytes: int = 1024**2
    map_parse_seconds: float = 5.0
    map_seconds: float = 120.0


def read_limits(text: str, where: str) -> dict[str, float]:
    """Return what `text` sets, such as `memory_bytes=8g,processes=200`.

    `where` names the option or variable for error messages.

    Raises:
        UsageError: a name is unknown or set twice, or its value is no quantity of its kind.
    """
    values: dict[str, str] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"{where}: {part.strip()!r} is not name=value", _example())
        if name in values:
            raise UsageError(f"{where}: {name} is set twice", "Give each limit once.")
        values[name] = value
    return check_limits(values, where)


def check_limits(values: Mapping[str, object], where: str) -> dict[str, float]:
    """Return limits by name, as numbers; `values` holds numbers, or text as people write it.

    Raises:
        UsageError: a name is unknown, or its value is no quantity of its kind.
    """
    return {name: _checked(name, value, where) for name, value in values.items()}


def lower_limits(limits: Limits, wanted: Mapping[str, float]) -> tuple[Limits, tuple[str, ...]]:
    """Return `limits` with those of `wanted` that are lower, and one line for each that is higher.

    A repository may ask for less than the person allows, never for more.
    """
    changes: dict[str, float] = {}
    refused: list[str] = []
    for name, value in wanted.items():
        allowed: float = getattr(limits, name)
        if value < allowed:
            changes[name] = value
        elif value > allowed:
            refused.append(f"{name} = {value:g} is above the {allowed:g} of this run: not applied")
    return msgspec.structs.replace(limits, **changes), tuple(refused)


def _checked(name: str, value: object, where: str) -> float:
    if name not in Limits.__struct_fields__:
        near = difflib.get_close_matches(name, Limits.__struct_fields__, n=1, cutoff=0.5)
        known = f"Limits: {', '.join(Limits.__struct_fields__)}."
        raise UsageError(
            f"{where}: there is no limit {name!r}", f"Did you mean {near[0]}?" if near else known
        )
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(
            f"{where}: {name} must be a number or a text such as '512m', not a {type(value).__name__}"
        )
    if isinstance(value, int) and abs(value) > MOST:
        raise _too_large(name, where)
    text = value if isinstance(value, str) else f"{value:f}" if isinstance(value, float) else str(value)
    try:
        if name.endswith("_seconds"):
            number: float = parse_seconds(text)
        elif "_bytes" in name:
            number = parse_bytes(text)
        elif name.endswith("_usd"):
            number = parse_amount(text)
        else:
            number = parse_count(text)
    except UsageError as error:
        raise UsageError(f"{where}: {name}: {error.message}", error.hint) from None
    if number > MOST:
        raise _too_large(name, where)
    return number


def _too_large(name: str, where: str) -> UsageError:
    return UsageError(f"{where}: {name} is larger than any limit can be ({MOST:g})")


def _example() -> str:
    return "Write memory_bytes=8g,processes=200; docs/reference.md has the names."
