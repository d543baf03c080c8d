import pytest

from editor.changes import Delete, Insert
from editor.history import History


def test_do():
    history = History("ab")
    history.do(Insert(1, "X"))
    assert history.document == "aXb"


def test_undo_and_redo():
    history = History("abc")
    history.do(Delete(0, 2))
    assert history.undo()
    assert history.document == "abc"
    assert history.redo()
    assert history.document == "c"


def test_nothing_to_undo():
    assert not History().undo()


def test_typing_leaves_nothing_to_redo():
    history = History()
    history.do(Insert(0, "old"))
    history.undo()
    history.do(Insert(0, "new"))
    assert not history.can_redo
    assert not history.redo()
    assert history.document == "new"


def test_failed_change_changes_nothing():
    history = History("a")
    with pytest.raises(IndexError):
        history.do(Delete(0, 5))
    assert not history.can_undo


def test_limit():
    history = History(limit=2)
    for letter in "abc":
        history.do(Insert(0, letter))
    while history.undo():
        pass
    assert history.document == "a"
