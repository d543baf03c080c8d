import pytest

from telemetry.sensors import Sensor
from telemetry.windows import MovingAverage, Peak


def test_average_of_last_values():
    average = MovingAverage(2)
    assert [average.add(value) for value in (2, 4, 6)] == [2, 3, 5]


def test_empty():
    assert MovingAverage(3).average == 0


def test_reset_forgets():
    average = MovingAverage(3)
    average.add(90)
    average.add(30)
    average.reset()
    assert average.add(6) == 6


def test_restarted_sensor_does_not_warn():
    sensor = Sensor("boiler", 50)
    sensor.read(80)
    sensor.restart()
    sensor.read(10)
    assert sensor.warnings == ["boiler: 80.0"]
    assert sensor.peak == 10


def test_full():
    average = MovingAverage(1)
    assert not average.full
    average.add(1)
    assert average.full


def test_peak():
    peak = Peak()
    assert [peak.add(value) for value in (-5, -7, 2)] == [-5, -5, 2]


def test_size():
    with pytest.raises(ValueError):
        MovingAverage(0)
