import pytest

from mailer.errors import AddressError, TemplateError
from mailer.messages import compose
from mailer.templates import placeholders, render


def test_render():
    assert render("Dear {name}, {count} new", {"name": "Ann", "count": 3}) == "Dear Ann, 3 new"


def test_filters():
    assert render("{name:upper}", {"name": "Ann"}) == "ANN"


def test_unknown_filter():
    with pytest.raises(TemplateError, match="shout"):
        render("{name:shout}", {"name": "Ann"})


def test_missing_value():
    with pytest.raises(TemplateError, match="name"):
        render("Dear {name}", {})


def test_compose_with_missing_value():
    with pytest.raises(TemplateError, match="amount"):
        compose("ann@shop.example", "Bill", "Pay {amount}", name="Ann")


def test_compose():
    mail = compose(" Ann@Shop.example ", "Hi {name}", "x\n\n", name="Ann")
    assert mail == {"to": "ann@shop.example", "subject": "Hi Ann", "body": "x\n"}


def test_bad_address():
    with pytest.raises(AddressError):
        compose("nobody", "a", "b")


def test_placeholders():
    assert placeholders("{b} {a:upper} {b}") == ["b", "a"]
