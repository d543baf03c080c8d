"""Ignore rules, compared with git's own answers."""

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.environments.ignore import IgnoreRules, match_segment

PATHS = [
    "a",
    "b.log",
    "foo",
    "foo/bar",
    "foo/bar/baz",
    "x/foo",
    "x/foo/y",
    "a b",
    "#hash",
    "!bang",
    "doc/frotz/z",
    "a/doc/frotz",
    "build/o",
    "src/build/o",
    "x.pyc",
    "keep.log",
    "sub/keep.log",
    "[x]",
    "a]b",
    "é",
    "tmp/a/b/c",
    "tmp/b",
    "Foo",
    "foo.c",
    "foo1",
    "trail ",
    "deep/a/b/c/d.txt",
]

RULES = [
    "*.log",
    "!keep.log",
    "/foo",
    "foo/",
    "foo/*",
    "!foo/bar",
    "**/foo",
    "foo/**",
    "a/**/frotz",
    "doc/frotz",
    "/build/",
    "build",
    "\\#hash",
    "\\!bang",
    "[a-c]",
    "[!a-c]",
    "foo.?",
    "*",
    "!*/",
    "trail\\ ",
    "a b",
    "**",
    "deep/**/d.txt",
    "x.py[co]",
    "[[:digit:]]",
    "foo[0-9]",
    "\\[x\\]",
    "a[]]b",
    "tmp/*/b",
    "*/b",
    "/*",
    "!/foo",
    "é",
    "# comment",
    "",
    "   ",
    "foo//bar",
    "[",
    "a\\",
    "/",
    "!",
    "***",
    "f**o",
    "**/b/**",
]


def ignored(rules: list[str], path: str) -> bool:
    """Say what our rules say about a file, directory by directory as the scan does."""
    parts = tuple(path.split("/"))
    level = IgnoreRules().below(0, "\n".join(rules).encode())
    return any(level.ignores(parts[:depth], depth < len(parts)) for depth in range(1, len(parts) + 1))


def says_git(directory: Path, rules: list[str]) -> set[str]:
    """Return which of the paths git ignores; the files exist, so git knows what is a directory."""
    (directory / ".gitignore").write_text("\n".join(rules))
    answer = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--ignored", "--exclude-per-directory=.gitignore"],
        cwd=directory,
        capture_output=True,
        check=True,
    )
    return set(answer.stdout.decode().split("\0")) - {"", ".gitignore"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository in which every path of interest exists."""
    root = tmp_path_factory.mktemp("ignore")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for path in PATHS:
        target = root / path
        if not any(other.startswith(f"{path}/") for other in PATHS):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    return root


def files(tree: Path) -> set[str]:
    """Return the paths that are files."""
    return {path for path in PATHS if (tree / path).is_file()}


@pytest.mark.parametrize("rule", RULES)
def test_one_rule_is_what_git_says(tree: Path, rule: str) -> None:
    assert {path for path in files(tree) if ignored([rule], path)} == says_git(tree, [rule])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(RULES), min_size=2, max_size=6))
def test_several_rules_are_what_git_says(tree: Path, rules: list[str]) -> None:
    assert {path for path in files(tree) if ignored(rules, path)} == says_git(tree, rules)


def test_hostile_patterns_end_soon() -> None:
    started = time.process_time()
    assert not match_segment("*a" * 250 + "b", "a" * 255)
    assert not ignored(["/".join(["**"] * 100 + ["x"])], "/".join("a" * 100))
    assert time.process_time() - started < 2
