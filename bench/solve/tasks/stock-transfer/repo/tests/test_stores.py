import pytest

from stores.ledger import Ledger, NotEnough
from stores.transfers import OrderError, parse_order, run_orders


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.receive("Berlin", "lamp", 8)
    ledger.receive("Rome", "lamp", 6)
    return ledger


def test_parse():
    assert parse_order(" 5 Lamp Berlin > Rome ") == (5, "lamp", "Berlin", "Rome")


def test_not_an_order():
    with pytest.raises(OrderError):
        parse_order("lamp Berlin Rome")


def test_order_moves_from_source_to_target(ledger):
    assert run_orders(ledger, "5 lamp Berlin > Rome\n") == 5
    assert ledger.amount("Berlin", "lamp") == 3
    assert ledger.amount("Rome", "lamp") == 11


def test_not_enough(ledger):
    with pytest.raises(NotEnough, match="Rome has 6"):
        run_orders(ledger, "7 lamp Rome > Berlin")


def test_move(ledger):
    ledger.move("Rome", "Oslo", "lamp", 2)
    assert ledger.amount("Oslo", "lamp") == 2
    assert ledger.total("lamp") == 14
