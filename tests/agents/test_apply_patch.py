"""The apply_patch format and its application, from well-formed to what models really write."""

import pytest

from overnight.agents.tools.patch_apply import Places, update_text
from overnight.agents.tools.patch_format import (
    AddFile,
    DeleteFile,
    UpdateFile,
    from_shell,
    parse_patch,
)
from overnight.domain.errors import PatchError


def patch(*lines: str) -> str:
    return "\n".join(("*** Begin Patch", *lines, "*** End Patch"))


def apply(text: str, *lines: str) -> str:
    (section,) = parse_patch(patch("*** Update File: f", *lines))
    assert isinstance(section, UpdateFile)
    return update_text("f", text, section.chunks)


def test_all_three_sections_parse() -> None:
    sections = parse_patch(
        patch(
            "*** Add File: a/new.txt", "+one", "+", "+two",
            "*** Delete File: old.txt",
            "*** Update File: b.py", "*** Move to: c.py", "@@ def f():", " x", "-y", "+z",
        )
    )  # fmt: skip
    assert sections[0] == AddFile("a/new.txt", "one\n\ntwo\n")
    assert sections[1] == DeleteFile("old.txt")
    assert isinstance(sections[2], UpdateFile)
    assert sections[2].move_to == "c.py"
    assert sections[2].chunks[0].contexts == ("def f():",)


def test_markers_are_trimmed_and_heredoc_wrappers_removed() -> None:
    wrapped = "<<'EOF'\n  *** Begin Patch  \n*** Delete File: x  \n *** End Patch\nEOF\n"
    assert parse_patch(wrapped) == (DeleteFile("x"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello", "Begin Patch"),
        ("*** Begin Patch\n*** Delete File: x", "End Patch"),
        (patch(), "empty"),
        (patch("*** Update File: x"), "no changes"),
        (patch("*** Add File: x"), "at least one line"),
        (patch("*** Update File: x", "@@", "what"), "must start with"),
        (patch("*** Frobnicate: x"), "expected"),
        (patch("*** Update File: x", "-a", "+b", "oops"), "expected '@@'"),
        (patch("*** Delete File: "), "expected"),
    ],
)
def test_what_is_no_patch_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(PatchError, match=says):
        parse_patch(text)


def test_the_first_chunk_may_omit_its_marker() -> None:
    assert apply("a\nb\nc\n", " a", "-b", "+B") == "a\nB\nc\n"


def test_stacked_contexts_narrow_successively() -> None:
    text = "class A:\n  def f(self):\n    return 1\nclass B:\n  def f(self):\n    return 1\n"
    changed = apply(text, "@@ class B:", "@@   def f(self):", "-    return 1", "+    return 2")
    assert changed == text[: text.rindex("1")] + "2\n"


def test_chunks_apply_in_order_and_may_repeat_their_lines() -> None:
    text = "x = 1\ny\nx = 1\n"
    assert apply(text, "-x = 1", "+x = 2", "@@", "-x = 1", "+x = 3") == "x = 2\ny\nx = 3\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("value = 1   ", "value = 1"),
        ("    value = 1", "value = 1"),
        ("say(“hi” – there)", 'say("hi" - there)'),
    ],
)
def test_the_later_passes_forgive_space_and_punctuation(line: str, shown: str) -> None:
    assert apply(f"{line}\nend\n", f"-{shown}", "+new") == "new\nend\n"


def test_an_exact_match_wins_over_an_earlier_lenient_one() -> None:
    assert Places(["  a", "a"]).seek(["a"], 0) == 1


def test_end_of_file_prefers_the_last_place() -> None:
    assert apply("a\nb\na\n", "@@", "-a", "+z", "*** End of File") == "a\nb\nz\n"


def test_lines_without_old_ones_go_to_the_end() -> None:
    assert apply("a\nb", "@@", "+c") == "a\nb\nc\n"


def test_a_blank_line_before_the_next_chunk_is_layout() -> None:
    assert apply("a\nb\nc\n", "-a", "+A", "", "@@", "-c", "+C") == "A\nb\nC\n"


def test_an_empty_line_in_a_chunk_is_an_empty_context_line() -> None:
    assert apply("a\n\nb\n", " a", "", "-b", "+B") == "a\n\nB\n"


def test_windows_line_endings_are_kept() -> None:
    assert apply("a\r\nb\r\n", "-b", "+c") == "a\r\nc\r\n"


def test_an_unmatched_chunk_shows_the_nearest_lines() -> None:
    with pytest.raises(PatchError) as caught:
        apply("alpha = 1\nbeta = 2\n", "-beta = 3", "+beta = 4")
    assert "beta = 3" in caught.value.message
    assert "2: beta = 2" in caught.value.hint


@pytest.mark.parametrize(
    "opening", ["apply_patch <<'EOF'", 'applypatch <<"EOF"', "cd sub/dir && apply_patch <<EOF"]
)
def test_the_shell_form_is_recognised(opening: str) -> None:
    found = from_shell(f"{opening}\n{patch('*** Delete File: x')}\nEOF\n")
    assert found is not None
    assert parse_patch(found.patch) == (DeleteFile("x"),)
    assert found.directory == ("sub/dir" if "cd" in opening else "")


def test_other_scripts_are_no_patch() -> None:
    assert from_shell("echo apply_patch <<'EOF'\nx\nEOF") is None
    assert from_shell("apply_patch <<'EOF'\nx\nEOF\nrm -rf x") is None
