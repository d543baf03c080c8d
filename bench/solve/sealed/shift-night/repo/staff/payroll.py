"""What shifts are worth."""

from staff.shifts import parse_shift

NIGHT_BONUS_PERCENT = 25


def hours(minutes):
    """Return minutes as `H:MM`."""
    return f"{minutes // 60}:{minutes % 60:02d}"


def pay(shift, cents_per_hour):
    """Return the cents a shift earns."""
    cents = shift.minutes() * cents_per_hour / 60
    if shift.night():
        cents *= 1 + NIGHT_BONUS_PERCENT / 100
    return round(cents)


def week(text):
    """Return the minutes worked in `9:00-17:00, 22:00-6:00, ...`."""
    return sum(parse_shift(part).minutes() for part in text.split(",") if part.strip())
