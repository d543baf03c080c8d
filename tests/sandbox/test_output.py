"""Bounded output: what fits is kept whole, else beginning and end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.sandbox.output import Kept


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(min_value=100, max_value=2000))
def test_kept(chunks: list[bytes], limit: int) -> None:
    kept = Kept(limit)
    for chunk in chunks:
        kept.add(chunk)
    whole = b"".join(chunks)
    value = kept.value()
    assert len(value) <= limit
    assert kept.total == len(whole)
    if len(whole) <= limit:
        assert value == whole
    else:
        note = b"\n[... %d bytes left out ...]\n" % (len(whole) - limit)
        head, tail = value[: limit // 2], value[limit // 2 + len(note) :]
        assert value == head + note + tail
        assert whole.startswith(head)
        assert whole.endswith(tail)
