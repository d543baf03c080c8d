import pytest

from dinner.receipt import amount, receipt
from dinner.shares import split_by_weight, split_evenly, with_tip


def test_even():
    assert split_evenly(900, 3) == [300, 300, 300]


def test_no_cent_is_lost():
    assert split_evenly(1000, 3) == [334, 333, 333]
    assert split_evenly(1001, 3) == [334, 334, 333]


def test_nobody():
    with pytest.raises(ValueError):
        split_evenly(100, 0)


def test_by_weight():
    assert split_by_weight(1000, [1, 1, 1]) == [333, 333, 334]


def test_tip():
    assert with_tip(999, 10) == 1099


def test_two_digits():
    assert amount(340) == "3.40"
    assert amount(5) == "0.05"


def test_receipt():
    assert receipt(1000, ["Ann", "Bob", "Cy"]).splitlines() == [
        "Ann       3.34",
        "Bob       3.33",
        "Cy        3.33",
        "total    10.00",
    ]
