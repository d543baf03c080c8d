import pytest

from builder.planner import Planner, has_cycle
from builder.targets import CycleError, UnknownTarget, parse_targets

TEXT = """
# a small program
app: lib main ; link
lib: header ; compile lib
main: header ; compile main
header:
docs: ; write docs
"""


def test_needs_come_first():
    assert Planner(parse_targets(TEXT)).plan("app") == ["header", "lib", "main", "app"]


def test_commands():
    commands = Planner(parse_targets(TEXT)).commands("app")
    assert commands == ["compile lib", "compile main", "link"]


def test_unused():
    assert Planner(parse_targets(TEXT)).unused("app") == ["docs"]


def test_unknown():
    with pytest.raises(UnknownTarget):
        Planner(parse_targets("a: b")).plan("a")


def test_cycle_is_named():
    with pytest.raises(CycleError) as error:
        Planner(parse_targets("start: a\na: b\nb: a")).plan("start")
    assert error.value.path == ["a", "b", "a"]


def test_target_that_needs_itself():
    assert has_cycle(parse_targets("a: a"))


def test_diamond_is_no_cycle():
    assert not has_cycle(parse_targets(TEXT))
