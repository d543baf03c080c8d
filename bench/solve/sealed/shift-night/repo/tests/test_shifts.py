import pytest

from staff.payroll import hours, pay, week
from staff.shifts import Shift, parse_shift, read_clock


def test_day_shift():
    assert Shift("9:00", "17:30", 30).minutes() == 480


def test_night_shift():
    assert Shift("22:00", "6:00").minutes() == 480
    assert Shift("23:30", "0:15", 15).minutes() == 30


def test_night_pay():
    assert pay(Shift("22:00", "6:00"), 1000) == 10000


def test_week_with_a_night():
    assert hours(week("9:00-17:00/60, 22:00-6:00")) == "15:00"


def test_until_midnight():
    assert Shift("18:00", "24:00").minutes() == 360


def test_day_pay():
    assert pay(Shift("9:00", "10:30"), 1000) == 1500


def test_parse():
    assert parse_shift("9:00-17:30/45") == Shift("9:00", "17:30", 45)


def test_clock():
    assert read_clock("7:05") == 425
    with pytest.raises(ValueError):
        read_clock("25:00")
