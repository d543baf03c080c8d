"""A sensor that warns when its average is too high."""

from telemetry.windows import MovingAverage, Peak


class Sensor:
    def __init__(self, name, limit, size=5):
        self.name = name
        self.limit = limit
        self._average = MovingAverage(size)
        self._peak = Peak()
        self.warnings = []

    def read(self, value):
        average = self._average.add(value)
        self._peak.add(value)
        if average > self.limit:
            self.warnings.append(f"{self.name}: {average:.1f}")
        return average

    @property
    def peak(self):
        return self._peak.value

    def restart(self):
        self._average.reset()
        self._peak.reset()
