"""Figures over the last few values of a stream."""

from collections import deque


class MovingAverage:
    """The mean of the last `size` values, kept without adding them up each time."""

    def __init__(self, size):
        if size < 1:
            raise ValueError("a window holds at least one value")
        self.size = size
        self._values = deque()
        self._total = 0.0

    def add(self, value):
        """Take in a value and return the average."""
        self._values.append(value)
        self._total += value
        if len(self._values) > self.size:
            self._total -= self._values.popleft()
        return self.average

    @property
    def average(self):
        if not self._values:
            return 0.0
        return self._total / len(self._values)

    @property
    def full(self):
        return len(self._values) == self.size

    def reset(self):
        self._values.clear()


class Peak:
    """The highest value since the last reset."""

    def __init__(self):
        self.value = None

    def add(self, value):
        if self.value is None or value > self.value:
            self.value = value
        return self.value

    def reset(self):
        self.value = None
