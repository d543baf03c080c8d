"""Prices in whole cents: discounts, tax and totals."""

from dataclasses import dataclass


class PricingError(ValueError):
    """A price or rate that makes no sense."""


@dataclass(frozen=True)
class Line:
    sku: str
    unit_cents: int
    quantity: int = 1
    discount_percent: float = 0


def apply_discount(cents, percent):
    """Return the price after taking `percent` off, rounded to whole cents."""
    if cents < 0:
        raise PricingError(f"negative price: {cents}")
    if not 0 <= percent <= 100:
        raise PricingError(f"discount out of range: {percent}")
    return round(cents * (100 - percent) / 100)


def add_tax(cents, rate_percent):
    """Return the price with tax, rounded to whole cents."""
    if rate_percent < 0:
        raise PricingError(f"negative tax: {rate_percent}")
    return cents + round(cents * rate_percent / 100)


def line_total(line):
    """Return what one line costs before tax."""
    if line.quantity < 0:
        raise PricingError(f"negative quantity for {line.sku}")
    return apply_discount(line.unit_cents * line.quantity, line.discount_percent)


def order_total(lines, tax_percent=0):
    """Return what all lines cost with tax."""
    return add_tax(sum(line_total(line) for line in lines), tax_percent)


def format_cents(cents, currency="€"):
    """Return a price as people write it."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole}.{rest:02d} {currency}"
