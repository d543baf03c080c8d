import pytest

from wire.headers import Headers, parse_headers, wants_json

TEXT = "Host: a.example\nAccept: application/json\nCookie: a=1\ncookie: b=2\n\nbody: no"


def test_parse():
    headers = parse_headers(TEXT)
    assert len(headers) == 4
    assert headers["HOST"] == "a.example"


def test_contains_without_case():
    headers = parse_headers(TEXT)
    assert "host" in headers
    assert "COOKIE" in headers
    assert "body" not in headers


def test_wants_json():
    assert wants_json(parse_headers(TEXT))
    assert not wants_json(Headers())


def test_all():
    assert parse_headers(TEXT).all("Cookie") == ["a=1", "b=2"]


def test_set():
    headers = parse_headers(TEXT)
    headers.set("COOKIE", "c=3")
    assert headers.all("cookie") == ["c=3"]


def test_missing():
    with pytest.raises(KeyError):
        Headers()["x"]
    assert Headers().get("x", "y") == "y"


def test_not_a_header():
    with pytest.raises(ValueError):
        parse_headers("hello")
