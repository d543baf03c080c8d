import pytest

from shop.pricing import Line, PricingError, add_tax, apply_discount, format_cents, order_total


def test_half_price():
    assert apply_discount(1000, 50) == 500


def test_full_discount_is_free():
    assert apply_discount(1999, 100) == 0


def test_voucher_line_adds_nothing():
    lines = [Line("mug", 900, 2), Line("staff-lunch", 1200, 1, 100)]
    assert order_total(lines) == 1800


@pytest.mark.parametrize("percent", [-1, 100.5, 250])
def test_discount_out_of_range(percent):
    with pytest.raises(PricingError):
        apply_discount(1000, percent)


def test_tax_is_rounded():
    assert add_tax(999, 19) == 1189


def test_format():
    assert format_cents(-1205) == "-12.05 €"
