"""A stretch of a day, in minutes since midnight."""

from dataclasses import dataclass


def minutes(clock):
    """Read `H:MM` as minutes since midnight."""
    hours, _, rest = clock.partition(":")
    return int(hours) * 60 + int(rest)


def clock(value):
    """Write minutes since midnight as `H:MM`."""
    return f"{value // 60}:{value % 60:02d}"


@dataclass(frozen=True, order=True)
class Slot:
    start: int
    end: int

    def __post_init__(self):
        if self.end <= self.start:
            raise ValueError("a slot ends after it starts")

    @classmethod
    def of(cls, start, end):
        return cls(minutes(start), minutes(end))

    @property
    def length(self):
        return self.end - self.start

    def overlaps(self, other):
        """Whether some minute belongs to both."""
        return self.start < other.end and other.start < self.end

    def contains(self, other):
        return self.start <= other.start and other.end <= self.end

    def __str__(self):
        return f"{clock(self.start)}-{clock(self.end)}"
