"""Phone numbers in one form: `+49301234`."""

HOME = "+49"
_IGNORED = " -./()[]"


class PhoneError(ValueError):
    """Not a phone number."""


def normalise(text):
    """Return a number with its country; numbers without one are from home."""
    text = text.strip()
    for character in _IGNORED:
        text = text.replace(character, "")
    if text.startswith("00"):
        text = "+" + text[2:]
    elif text.startswith("0"):
        text = HOME + text[1:]
    if not text.startswith("+") or not text[1:].isdigit():
        raise PhoneError(f"not a phone number: {text!r}")
    return text


def pretty(number):
    """Return a number in groups, as it is read out."""
    country, rest = number[:3], number[3:]
    groups = [rest[i : i + 3] for i in range(0, len(rest), 3)]
    return " ".join([country, *groups])
