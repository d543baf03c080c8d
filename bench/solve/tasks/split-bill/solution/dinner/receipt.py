"""The receipt as text."""

from dinner.shares import split_evenly


def amount(cents):
    """Return cents as a decimal number."""
    return f"{cents / 100:.2f}"


def receipt(cents, names):
    """Return one line a person and the total below."""
    shares = split_evenly(cents, len(names))
    width = max(len(name) for name in [*names, "total"])
    lines = [f"{name:<{width}} {amount(share):>8}" for name, share in zip(names, shares)]
    lines.append(f"{'total':<{width}} {amount(cents):>8}")
    return "\n".join(lines)
