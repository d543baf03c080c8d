import pytest

from pages.links import LinkError, absolute, relative
from pages.site import Site


def test_same_folder():
    assert relative("guide/start", "guide/end") == "end"


def test_below():
    assert relative("guide/start", "guide/more/tips") == "more/tips"


def test_from_the_top():
    assert relative("index", "guide/start") == "guide/start"


def test_other_folder():
    assert relative("guide/start", "api/http/errors") == "../api/http/errors"


def test_up_and_partly_shared():
    assert relative("api/http/v1/errors", "api/http/v2/codes") == "../v2/codes"
    assert relative("api/http/errors", "index") == "../../index"


def test_there_and_back():
    assert absolute("a/b/c", relative("a/b/c", "a/x/y/z")) == "a/x/y/z"


def test_absolute():
    assert absolute("guide/start", "../api/x") == "api/x"
    assert absolute("guide/start", "/index") == "index"


def test_outside():
    with pytest.raises(LinkError):
        absolute("start", "../x")


def test_menu():
    site = Site()
    for address in ("guide/a", "guide/b", "index"):
        site.add(address)
    assert site.menu("guide/a") == ["b", "../index"]


def test_broken():
    site = Site()
    site.add("index", ["guide", "https://x.example", "nothing"])
    site.add("guide", ["index", "../up"])
    assert site.broken() == [("guide", "../up"), ("index", "nothing")]
