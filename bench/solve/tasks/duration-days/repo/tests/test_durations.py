import pytest

from settings.durations import DurationError, format_duration, parse_duration
from settings.reader import read


@pytest.mark.parametrize(
    ("text", "seconds"), [("45", 45), ("90s", 90), ("5m", 300), ("1h30m", 5400), (" 2H ", 7200)]
)
def test_known_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("2d", 172800), ("1d12h", 129600)])
def test_days(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "5x", "5m!", "-3s"])
def test_nonsense(text):
    with pytest.raises(DurationError):
        parse_duration(text)


def test_settings_with_days():
    assert read("keep_for = 7d # a week")["keep_for"] == 604800


def test_settings_defaults():
    assert read("timeout = 1m")["retry_after"] == 300


def test_format():
    assert format_duration(5405) == "1h30m5s"
