"""Limits by name, as text of options, variables and files."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.errors import UsageError
from overnight.domain.limits import Limits, check_limits, lower_limits, read_limits
from overnight.domain.quantities import parse_bytes, parse_count, parse_seconds


def test_limits_by_name() -> None:
    assert read_limits("memory_bytes=8g, processes=200,attempt_seconds=1h30m,", "--limits") == {
        "memory_bytes": 8 * 1024**3,
        "processes": 200,
        "attempt_seconds": 5400.0,
    }
    assert read_limits("", "--limits") == {}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("memory=8g", ("'memory'", "memory_bytes")),
        ("memory_bytes", ("name=value",)),
        ("memory_bytes=soon", ("memory_bytes", "512m")),
        ("steps=-1", ("steps",)),
        ("steps=0", ("steps",)),
        ("steps=1.5", ("steps",)),
        ("attempt_seconds=0", ("attempt_seconds", "90s")),
        ("attempt_seconds=" + "9" * 4000, ("attempt_seconds",)),
        ("memory_bytes=9999999t", ("memory_bytes", "larger")),
        ("steps=1,steps=2", ("steps", "twice")),
    ],
)
def test_what_is_no_limit_is_named(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        read_limits(text, "OVERNIGHT_LIMITS")
    line = f"{caught.value.message} {caught.value.hint}"
    assert line.startswith("OVERNIGHT_LIMITS: ")
    assert [part for part in parts if part not in line] == []
    assert len(line) < 500


def test_every_name_can_be_set_and_lowered() -> None:
    for name, before in ((name, getattr(Limits(), name)) for name in Limits.__struct_fields__):
        values = read_limits(f"{name}=1", "--limits")
        assert values == {name: 1}
        lowered, refused = lower_limits(Limits(), values)
        assert (getattr(lowered, name), refused) == (1, ())
        raised, lines = lower_limits(Limits(), {name: before + 1})
        assert raised == Limits()
        assert len(lines) == 1
        assert name in lines[0]


NAMES = st.sampled_from(Limits.__struct_fields__) | st.text(max_size=8)
VALUES = st.integers() | st.floats() | st.text(max_size=12) | st.booleans() | st.none()


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_value_is_a_limit_or_ours_to_refuse(values: dict[str, Any]) -> None:
    try:
        checked = check_limits(values, "x")
    except UsageError:
        return
    assert all(0 < value <= 2**50 for value in checked.values())


@given(st.text(max_size=60))
def test_any_text_is_a_quantity_or_ours_to_refuse(text: str) -> None:
    for parse in (parse_seconds, parse_bytes, parse_count):
        with contextlib.suppress(UsageError):
            assert parse(text) > 0
