import pytest

from labels.labels import framed, label
from labels.wrapping import centre, shorten, wrap


def test_wrap_words():
    assert wrap("one two three four", 9) == ["one two", "three", "four"]


def test_word_as_long_as_the_line():
    assert wrap("ab abcd ab", 4) == ["ab", "abcd", "ab"]


def test_long_word_is_cut():
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]


def test_text_goes_on_after_the_last_piece():
    assert wrap("no abcdefghij k lm", 4) == ["no", "abcd", "efgh", "ij k", "lm"]


def test_label_keeps_its_width():
    assert all(len(line) <= 8 for line in label("Part", "XK-4411-2209-B spare", 8))


def test_nothing():
    assert wrap("  ", 5) == []


def test_no_width():
    with pytest.raises(ValueError):
        wrap("a", 0)


def test_shorten():
    assert shorten("abcdefgh", 6) == "abc..."
    assert shorten("abc", 6) == "abc"


def test_centre():
    assert centre("ab", 6) == "  ab"


def test_frame():
    assert framed(["a"], 3) == ["+---+", "|a  |", "+---+"]
