"""Reads `name = value` settings."""

from settings.durations import parse_duration

DEFAULTS = {"timeout": "30s", "retry_after": "5m", "keep_for": "24h"}


def read(text):
    """Return all durations of a settings text in seconds, with defaults."""
    values = dict(DEFAULTS)
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        name, _, value = line.partition("=")
        values[name.strip()] = value.strip()
    return {name: parse_duration(value) for name, value in values.items()}
