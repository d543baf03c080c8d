"""What late readers pay."""

from datetime import date, timedelta

LOAN_DAYS = {"book": 28, "film": 7, "magazine": 14}
FEE_CENTS = {"book": 20, "film": 100, "magazine": 10}
MOST_CENTS = 1500


def due_date(lent, kind):
    """Return the last day on which a thing may be returned without a fee."""
    return lent + timedelta(days=LOAN_DAYS[kind])


def late_days(due, returned):
    """Return how many days late a thing came back."""
    return max(0, (returned - due).days)


def fee(kind, lent, returned):
    """Return the fee in cents, never more than the most."""
    days = late_days(due_date(lent, kind), returned)
    return min(days * FEE_CENTS[kind], MOST_CENTS)


def reminder(kind, lent, today):
    """Return a sentence for the reader, or None when there is nothing to say."""
    due = due_date(lent, kind)
    left = (due - today).days
    if left > 3:
        return None
    if left >= 0:
        return f"Your {kind} is due on {due.isoformat()}."
    return f"Your {kind} is late, you owe {fee(kind, lent, today)} cents."


def parse_day(text):
    """Read `YYYY-MM-DD` or `DD.MM.YYYY`."""
    if "." in text:
        day, month, year = text.split(".")
        return date(int(year), int(month), int(day))
    return date.fromisoformat(text)
