from disk.trees import depth, find, size, walk
from disk.usage import biggest, human, over

TREE = {"a": 10, "b": {"c": 5, "d": {"e": 100, "f": {"g": 2000}}}, "h": {}}


def test_file():
    assert size(7) == 7


def test_flat_folder():
    assert size({"a": 1, "b": 2, "c": {"d": 3}}) == 6


def test_deep_folder():
    assert size(TREE) == 2115


def test_biggest_counts_all_levels():
    assert biggest(TREE, 2) == [("b", "2.1 KB"), ("a", "10 B")]


def test_walk():
    assert list(walk(TREE))[-1] == ("/b/d/f/g", 2000)


def test_depth():
    assert depth(TREE) == 4


def test_find():
    assert find(TREE, "/b/d/e") == 100
    assert find(TREE, "/b/x") is None


def test_human():
    assert human(1536) == "1.5 KB"


def test_over():
    assert over(TREE, 50) == ["/b/d/e", "/b/d/f/g"]
