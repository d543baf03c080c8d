import pytest

from directory.people import Directory
from directory.phones import PhoneError, normalise, pretty


@pytest.mark.parametrize("text", ["030 1234", "0049-30-1234", "+49 30 12 34"])
def test_known_forms(text):
    assert normalise(text) == "+49301234"


@pytest.mark.parametrize("text", ["(030) 12.34", "030/1234", "+49 [30] 12-34"])
def test_other_marks_are_ignored(text):
    assert normalise(text) == "+49301234"


@pytest.mark.parametrize("text", ["", "call me", "12345", "+"])
def test_no_number(text):
    with pytest.raises(PhoneError):
        normalise(text)


def test_pretty():
    assert pretty("+49301234") == "+49 301 234"


def test_who():
    directory = Directory()
    directory.add("Ann ", "030 1234")
    directory.add("Bob", "+49 30 1234")
    assert directory.who("0301234") == ["Ann", "Bob"]


def test_names_without_case():
    directory = Directory()
    for name in ("Zoe", "adam", "Eve"):
        directory.add(name, "0301234")
    assert directory.names() == ["adam", "Eve", "Zoe"]
