import pytest

from notes.search import Index
from notes.words import snippet, words


@pytest.fixture
def index():
    index = Index()
    index.add("garden", "Plant the red roses")
    index.add("shop", "Red paint and a brush")
    index.add("trip", "Roses of Picardy")
    return index


def test_words():
    assert words("The end of an Era") == ["end", "era"]


def test_one_word(index):
    assert index.find("RED") == ["garden", "shop"]


def test_all_words(index):
    assert index.find("red roses") == ["garden"]


def test_all_words_in_none(index):
    assert index.find("paint picardy") == []


def test_unknown_word_finds_nothing(index):
    assert index.find("red unicorn") == []


def test_empty_query(index):
    assert index.find("the") == []


def test_changed_note(index):
    index.add("shop", "Blue")
    assert index.find("red") == ["garden"]


def test_results(index):
    assert index.results("picardy") == [("trip", "Roses of Picardy")]


def test_snippet():
    assert snippet("one two three four", "three", 4) == "two three fou"
