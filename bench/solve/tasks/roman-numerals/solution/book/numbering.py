"""Numbers for chapters, sections and appendices."""

_SYMBOLS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def to_roman(number):
    """Return a number from 1 to 3999 in Roman numerals."""
    if not 1 <= number <= 3999:
        raise ValueError(f"no Roman numeral for {number}")
    text = ""
    pairs = {"CM": 900, "CD": 400, "XC": 90, "XL": 40, "IX": 9, "IV": 4}
    for symbol, value in sorted({**_SYMBOLS, **pairs}.items(), key=lambda pair: -pair[1]):
        while number >= value:
            text += symbol
            number -= value
    return text


def from_roman(text):
    """Return the number of a Roman numeral."""
    total = 0
    last = 0
    for symbol in reversed(text.upper()):
        value = _SYMBOLS[symbol]
        if value < last:
            total -= value
        else:
            total += value
            last = value
    return total


def to_letters(number):
    """Return A, B, ..., Z, AA, AB for 1, 2, ..."""
    text = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def headings(titles, style="roman"):
    """Return numbered titles."""
    write = {"roman": to_roman, "letters": to_letters, "digits": str}[style]
    return [f"{write(number)}. {title}" for number, title in enumerate(titles, start=1)]
