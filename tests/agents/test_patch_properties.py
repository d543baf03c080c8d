"""Any edit of any text, rendered as a patch with drifted context, applies exactly or is refused."""

import difflib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.agents.tools.patch_apply import update_text
from overnight.agents.tools.patch_format import UpdateFile, parse_patch
from overnight.domain.errors import PatchError
from tests.agents.patch_fuzz import try_one

LINES = st.lists(
    st.one_of(
        st.sampled_from(["", "a", "b", "    a", "x = 1", "x = “1”", "\tend", "pass  ", "a\x0cb", "\u2028"]),
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=12),
    ),
    max_size=14,
)
ENDINGS = st.sampled_from(["\n", "\r\n"])
DRIFTS = st.sampled_from(["", "rstrip", "strip", "quotes", "CRLF"])


def render(old: list[str], new: list[str], context: int, drift: str, end: bool) -> str:
    """Return a patch from one text to the other, its context as a model may have remembered it."""
    chunks: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(context):
        chunks.append("@@")
        for tag, a, b, c, d in group:
            if tag == "equal":
                chunks += (" " + drifted(line, drift) for line in old[a:b])
            else:
                chunks += ("-" + drifted(line, drift) for line in old[a:b])
                chunks += ("+" + line for line in new[c:d])
        if end and group[-1][2] == len(old):
            chunks.append("*** End of File")
    newline = "\r\n" if drift == "CRLF" else "\n"
    return newline.join(["*** Begin Patch", "*** Update File: f", *chunks, "*** End Patch"])


def drifted(line: str, drift: str) -> str:
    """Return a line as it is remembered."""
    match drift:
        case "rstrip":
            return line.rstrip() or line
        case "strip":
            return line.strip() or line
        case "quotes":
            return line.replace("“", '"').replace("”", '"')
        case _:
            return line


def apply(text: str, patch: str) -> str:
    (section,) = parse_patch(patch)
    assert isinstance(section, UpdateFile)
    return update_text("f", text, section.chunks)


@given(LINES, LINES, ENDINGS, st.integers(0, 4), DRIFTS, st.booleans())
def test_a_drifted_patch_applies_exactly_or_is_refused(
    old: list[str], new: list[str], ending: str, context: int, drift: str, end: bool
) -> None:
    check(old, new, ending, context, drift, end)


@given(LINES, st.data(), ENDINGS, DRIFTS)
def test_a_few_changed_lines_apply_exactly_or_are_refused(
    old: list[str], data: st.DataObject, ending: str, drift: str
) -> None:
    new = list(old)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(new)))
        gone = data.draw(st.integers(0, 2))
        new[at : at + gone] = data.draw(st.lists(st.sampled_from(["new", "  new", "a"]), max_size=2))
    check(old, new, ending, 3, drift, end=True)


def check(old: list[str], new: list[str], ending: str, context: int, drift: str, end: bool) -> None:
    """Apply the patch and compare with what was meant, line for line and byte for byte."""
    if old == new:
        return
    if not old:
        ending = "\n"  # An empty file has no line endings to go by.
    text = "".join(line + ending for line in old)
    wanted = "".join(line + ending for line in new)
    try:
        changed = apply(text, render(old, new, context, drift, end))
    except PatchError:
        return
    lines, again = text.split("\n"), changed.split("\n")
    if changed != wanted:
        # Only where the same lines stand elsewhere too may it have gone to another place.
        assert ambiguous(old, new, context, drift), (text, wanted, changed)
    # Whatever happened: no line is there that neither the file had nor the patch brought, nor did any break.
    known = {*lines, *(line + ending.removesuffix("\n") for line in new), ""}
    assert set(again) <= known


def ambiguous(old: list[str], new: list[str], context: int, drift: str) -> bool:
    """Say whether the lines that a chunk looks for stand in several places, in the loosest reading."""

    def loose(line: str) -> str:
        return line.replace("“", '"').replace("”", '"').strip()

    have = [loose(line) for line in old]
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(context):
        wanted = [loose(line) for _, a, b, _, _ in group for line in old[a:b]]
        if not wanted:
            return True  # Lines without any context go to the end.
        for sought in (wanted, wanted[:-1]) if wanted[-1] == "" else (wanted,):
            places = sum(have[n : n + len(sought)] == sought for n in range(len(have) - len(sought) + 1))
            if places != 1:
                return True
    return False


def test_line_endings_and_the_mark_of_the_byte_order_stay() -> None:
    text = "\ufeffone\r\ntwo\nthree\r\nfour"
    patch = "*** Begin Patch\n*** Update File: f\n@@\n one\n two\n-three\n+3\n*** End Patch"
    assert apply(text, patch) == "\ufeffone\r\ntwo\n3\r\nfour\r\n"


def test_lenient_context_does_not_change_the_file() -> None:
    text = "def f():\n        return “x”  \n    # end\n"
    patch = '*** Begin Patch\n*** Update File: f\n def f():\n return "x"\n+    more\n # end\n*** End Patch'
    assert apply(text, patch) == "def f():\n        return “x”  \n    more\n    # end\n"


def test_lines_for_the_end_keep_their_order() -> None:
    patch = "*** Begin Patch\n*** Update File: f\n+b\n@@\n+c\n@@\n-a\n+A\n*** End Patch"
    assert apply("a\n", patch) == "A\nb\nc\n"


def test_form_feeds_do_not_break_lines() -> None:
    patch = "*** Begin Patch\n*** Update File: f\n-a\x0cb\u2028c\n+d\x0ce\n*** End Patch"
    assert apply("a\x0cb\u2028c\nx\n", patch) == "d\x0ce\nx\n"


def test_a_file_of_equal_lines_cannot_keep_the_host_busy() -> None:
    many = "x\n" * 100_000
    patch = "*** Begin Patch\n*** Update File: f\n" + " x\n" * 5_000 + "-y\n" + "+z\n*** End Patch"
    with pytest.raises(PatchError, match="not found"):
        apply(many, patch)
    patch = "*** Begin Patch\n*** Update File: f\n" + " x\n x\n y\n" * 3_000 + "-y\n" + "*** End Patch"
    with pytest.raises(PatchError, match="too many places"):
        apply("x\nx\ny\n" * 50_000, patch)


def test_random_texts_apply_or_are_refused() -> None:
    draw = random.Random(7)
    assert sum(try_one(draw) for _ in range(20_000)) > 100


@pytest.mark.full
def test_a_million_random_texts_apply_or_are_refused() -> None:
    draw = random.Random(20)
    assert sum(try_one(draw) for _ in range(1_000_000)) > 5_000
