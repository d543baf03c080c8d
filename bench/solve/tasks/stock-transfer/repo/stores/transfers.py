"""Transfer orders as the stores send them: `5 lamp Berlin > Rome`."""

import re

_ORDER = re.compile(r"\s*(\d+)\s+(\S+)\s+(\S+)\s*>\s*(\S+)\s*$")


class OrderError(ValueError):
    """An order that cannot be read."""


def parse_order(text):
    """Return (amount, article, source, target)."""
    match = _ORDER.match(text)
    if not match:
        raise OrderError(f"cannot read {text!r}")
    return int(match[1]), match[2].lower(), match[3], match[4]


def run_order(ledger, text):
    """Carry out one order."""
    amount, article, source, target = parse_order(text)
    ledger.move(target, source, article, amount)
    return amount


def run_orders(ledger, text):
    """Carry out all orders, one a line, and return how much was moved."""
    return sum(run_order(ledger, line) for line in text.splitlines() if line.strip())
