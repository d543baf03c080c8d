import pytest

from book.numbering import from_roman, headings, to_letters, to_roman


@pytest.mark.parametrize(("number", "text"), [(1, "I"), (3, "III"), (6, "VI"), (2026, "MMXXVI")])
def test_additive(number, text):
    assert to_roman(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(4, "IV"), (9, "IX"), (40, "XL"), (90, "XC"), (1994, "MCMXCIV")]
)
def test_subtractive(number, text):
    assert to_roman(number) == text


@pytest.mark.parametrize("number", [0, -1, 4000])
def test_out_of_range(number):
    with pytest.raises(ValueError):
        to_roman(number)


def test_read():
    assert from_roman("mcmxciv") == 1994


def test_letters():
    assert [to_letters(number) for number in (1, 26, 27, 52)] == ["A", "Z", "AA", "AZ"]


def test_headings():
    assert headings(["Start", "End"], "digits") == ["1. Start", "2. End"]
