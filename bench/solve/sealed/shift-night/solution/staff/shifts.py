"""Shifts as they are planned: a start, an end and a break."""

from dataclasses import dataclass

DAY = 24 * 60


def read_clock(text):
    """Return the minutes since midnight of `H:MM`."""
    hours, _, minutes = text.partition(":")
    value = int(hours) * 60 + int(minutes or 0)
    if not 0 <= value <= DAY:
        raise ValueError(f"no such time: {text}")
    return value


@dataclass(frozen=True)
class Shift:
    start: str
    end: str
    break_minutes: int = 0

    def minutes(self):
        """Return the minutes worked, without the break."""
        start = read_clock(self.start)
        end = read_clock(self.end)
        if end < start:
            end += DAY
        return end - start - self.break_minutes

    def night(self):
        """Whether the shift runs past midnight."""
        return read_clock(self.end) < read_clock(self.start)


def parse_shift(text):
    """Read `9:00-17:30/45`; the break may be missing."""
    times, _, pause = text.partition("/")
    start, _, end = times.partition("-")
    return Shift(start.strip(), end.strip(), int(pause or 0))
