"""A malicious agent that speaks to the clock, and to the terminal of whoever reads its log."""

import contextlib
import io
import re
import time
import unicodedata

import pytest
from rich.console import Console

from tests.attacks.rooms import python
from tests.attacks.scripted import Villain, plain, told, write

CLOCK = r"""
import ctypes, time
for name in ("CLOCK_REALTIME",):
    try: time.clock_settime(getattr(time, name), 1e9); print("set", name)
    except OSError as error: print("refused", error.errno)
libc = ctypes.CDLL(None, use_errno=True)
print("settimeofday", libc.settimeofday((ctypes.c_long * 2)(10**9, 0), None))
buffer = ctypes.create_string_buffer(512)
buffer[0:4] = (0x0001).to_bytes(4, "little")  # ADJ_OFFSET
print("adjtimex", libc.adjtimex(buffer))
"""


@pytest.mark.attack(38)
def test_the_clock_stays(villain: Villain) -> None:
    apart = time.time() - time.monotonic()
    done = villain.attack(python(CLOCK), "date -s 2001-09-09; cat /dev/rtc0; echo tried")
    assert "set CLOCK_REALTIME" not in done.output, done.output
    assert "settimeofday -1" in done.output, done.output
    assert "adjtimex -1" in done.output, done.output
    assert abs(time.time() - time.monotonic() - apart) < 3600


EVIL = (
    "\x1b]0;owned\x07\x1b]2;owned\x1b\\\x1b]52;c;cm0gLXJmIH4=\x07"
    "\x1b]8;;https://evil.invalid/\x1b\\click\x1b]8;;\x1b\\"
    "\x1b[2J\x1b[H\x1b[31mred\x1b[?1049h\x1bP+q544e\x1b\\\x1b_G\x1b\\\x1bc"
    "\x9b31m\x9d0;owned\x9c\x90q\x9c\r\x08\x7f\x0b\x0c\x00\u202e\u2066\u200b\U000e0041end"
)


def controls(text: str) -> set[str]:
    """Return the characters in `text` that a terminal obeys, or that hide what is there."""
    return {
        repr(char) for char in text if char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Cs")
    }


@pytest.mark.attack(38)
def test_no_log_speaks_to_the_terminal(villain: Villain) -> None:
    # The command prints the bytes, is named by them, and leaves them in names and in a file; the model says
    # them too, at the end and as the title of its request.
    name = re.sub(r"[\0/\n\r]", "", EVIL)
    done = villain.attack(
        python(f"import sys; sys.stdout.buffer.write({EVIL.encode()!r}); sys.stderr.write({EVIL!r})"),
        f"echo '{name}'; touch '{name}'",
        write("plain.txt", "text"),
        options=("--check", f"echo '{name}'; true"),
        prompt=f"Fix {name}",
        last=f"{name}\n\nI have {name} fixed it.",
    )
    house, task = villain.house, done.task
    seen = {
        "run": done.ended.stderr,
        "logs": told(house, "task", "logs", task).stdout,
        "view": told(house, "task", "view", task).stdout,
        "list": told(house, "task", "list").stdout,
        "compare": told(house, "task", "compare", task).stdout,
        "pr create": (created := told(house, "pr", "create", task)).stdout + created.stderr,
        "pr list": told(house, "pr", "list").stdout,
        "pr view": told(house, "pr", "view", "1").stdout,
    }
    assert "end" in seen["logs"], "the output itself is shown"
    assert {where: controls(plain(text)) for where, text in seen.items() if controls(plain(text))} == {}


@pytest.mark.attack(38)
def test_the_live_display_does_not_either(villain: Villain, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    real = Console.__init__

    def on_a_terminal(self: Console, **options: object) -> None:
        real(self, **{**options, "file": screen, "force_terminal": True, "width": 100})  # type: ignore[arg-type]

    monkeypatch.setattr(Console, "__init__", on_a_terminal)
    with contextlib.suppress(AssertionError):  # what would be data goes to the screen as well
        villain.attack(
            python(f"import sys; sys.stdout.buffer.write({EVIL.encode()!r})"), prompt=f"Fix {EVIL[2:40]}"
        )
    shown = screen.getvalue()
    assert "attempt 1" in shown, shown
    for what in ("owned\x07", "\x1b]", "\x1b[2J", "\x1bc", "\x1b_", "\x1bP", "\x9b", "\x9d", "\u202e"):
        assert what not in shown, repr(what)
