from datetime import date

from lending.fees import due_date, fee, late_days, parse_day, reminder

LENT = date(2026, 3, 2)


def test_due():
    assert due_date(LENT, "film") == date(2026, 3, 9)


def test_early():
    assert late_days(date(2026, 3, 9), date(2026, 3, 1)) == 0


def test_on_the_day():
    assert late_days(date(2026, 3, 9), date(2026, 3, 9)) == 0


def test_fee_starts_the_day_after():
    assert fee("film", LENT, date(2026, 3, 10)) == 100


def test_most():
    assert fee("film", LENT, date(2027, 3, 9)) == 1500


def test_reminder_before():
    assert reminder("book", LENT, date(2026, 3, 3)) is None
    assert reminder("book", LENT, date(2026, 3, 28)) == "Your book is due on 2026-03-30."


def test_days():
    assert parse_day("09.03.2026") == parse_day("2026-03-09")
