"""Text that others wrote, made safe for a terminal."""

import re
import unicodedata

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def plain(text: str) -> str:
    """Return `text` without escape sequences, control and invisible characters; tabs and lines stay.

    Output of commands and models can otherwise set titles, the clipboard, or reorder what is shown.
    """
    cleaned = _ESCAPES.sub("", text).replace("\r\n", "\n")
    return "".join(
        char
        for char in cleaned
        if char in "\n\t" or (unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    )


def one_line(text: str, width: int = 100) -> str:
    """Return the first line of `text`, made safe and cut to `width` characters."""
    first = next((line for line in plain(text).splitlines() if line.strip()), "").strip()
    return first if len(first) <= width else first[: width - 1] + "…"
