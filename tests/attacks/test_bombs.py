"""Recipes and trees of a few kilobytes that would break, stall or exhaust whoever reads them."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from overnight.agents.repair import failures
from overnight.agents.repair.functions import shape
from overnight.agents.tools.interface import parse_arguments
from overnight.cli.recipe_lines import recipe_lines
from overnight.domain.errors import GitError, UsageError
from overnight.domain.network import parse_rule
from overnight.git import run
from overnight.git.inspect import changed_in_checkout
from overnight.git.mirror import Mirror
from overnight.git.objects import list_tree
from overnight.git.origin import locate
from overnight.verify.runners import junit
from tests.environments.recipes import recipe_of
from tests.house import SECONDS, git, make_repository

pytestmark = pytest.mark.attack(51)

HUGE = f"0x{'f' * 20_000}"
"""A number that Python reads and does not write: it would take quadratic time."""
KEYS = (
    "setup", "checks", "variables", "path", "tools", "lock_files", "protected", "setup_network", "secrets",
    "setup_seconds", "network", "maintenance", "start", "base", "services", "limits", "services.x",
    "services.x.command", "services.x.ready", "services.x.seconds", "services.x.variables", "secrets.A",
    "limits.memory_bytes", "limits.steps", "limits.nothing", "network.setup", "network.agent",
    "network.allow", "variables.A", "nothing",
)  # fmt: skip
VALUES = (
    HUGE, f"[{HUGE}]", f"{{a = {HUGE}}}", "nan", "inf", "-1", "1979-05-27", '""', '"' + "x" * 100_000 + '"',
    "[" + '"x.example",' * 2000 + "]", '["\\u001b]0;owned\\u0007"]', '"a\\nb"', "[" * 300 + "]" * 300,
)  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_recipe_is_read_or_refused_in_one_short_line(key: str) -> None:
    for value in VALUES:
        try:
            lines = list(recipe_lines(recipe_of({".overnight.toml": f"{key} = {value}\n"})))
        except UsageError as error:
            lines = [error.message, error.hint]
        assert max(map(len, lines)) < 4000, value[:40]
        assert not any("\x1b" in line or "\n" in line for line in lines), value[:40]


YAML = ".github/workflows/copilot-setup-steps.yml"
BOMBS = {
    "anchors": (YAML, "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9))),
    "an alias to itself": (YAML, "a: &a [*a]\n"),
    "deep lists": (YAML, "[" * 60_000),
    "merged keys": (YAML, "a: &a {x: 1}\nb: {<<: [" + "*a," * 15_000 + "]}"),
    "an object": (YAML, "!!python/object/apply:os.system ['touch owned']"),
    "deep JSON": (".devcontainer.json", '{"a":' * 10_000),
    "a number in JSON": (".devcontainer.json", '{"postCreateCommand": ' + "9" * 60_000 + "}"),
    "no numbers": (".cursor/environment.json", '{"install": [1e999, -1e999, NaN]}'),
    "comments": (".devcontainer.json", "/*" * 30_000),
    "deep package": ("package.json", '{"scripts":' * 40_000),
    "a number in a package": ("package.json", '{"scripts": {}, "x": ' + "9" * 9_000 + "}"),
    "dotted keys": ("pyproject.toml", "a." * 100_000 + "b = 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_files_of_other_tools_are_read_or_ignored(name: str) -> None:
    path, text = BOMBS[name]
    lines = list(recipe_lines(recipe_of({path: text, "b.txt": ""})))
    assert all(len(line) < 2000 for line in lines)


def test_a_rule_names_no_size_that_cannot_be_kept() -> None:
    with pytest.raises(UsageError, match="no body is so large"):
        parse_rule("a.example max=999999999999g")
    assert parse_rule("a.example max=1023g").max_bytes == 1023 * 2**30


FLOODS = {
    "lines": r"'\n' * 2_000_000",
    "spaces": r"'a::b' + ' ' * 2_000_000",
    "lines behind a name": r"'a::b' + '\n' * 2_000_000",
    "spaces in lines": r"('a::b' + (' ' * 190 + 'x') * 9 + '\n') * 1000",
    "an endless line": r"'  File \"' + 'x' * 4_000_000",
}
READERS = """
import sys
from overnight.agents.repair import failures
from overnight.verify.runners import cargo, go, junit, node
failures.read({text}, "@@", 1)
assert node.recognise("npm test", lambda _: b"node " * 100_000) is False
assert cargo.recognise("cargo " * 100_000) is False
lines = ('{{"Action":"fail","Package":"a%d"}}\\n{{"Action":"run","Package":"x","Test":"b%d"}}\\n' % (n, n)
         for n in range(40_000))
tests, _ = go.parse("".join(lines))
assert len(tests) == 80_000
"""


@pytest.mark.parametrize("flood", FLOODS)
def test_output_is_read_in_a_time_that_its_size_says(flood: str) -> None:
    # In a process of its own: what is quadratic here would hold the interpreter for hours.
    script = READERS.format(text=FLOODS[flood])
    subprocess.run([sys.executable, "-c", script], check=True, timeout=SECONDS)


def test_records_of_any_form_are_no_error() -> None:
    good = '{"k":"test","t":"a","s":"failed"}'
    for bad in (
        '{"k":"time","n":"x"}', '{"k":"test","t":1,"s":"failed","f":5}', '{"k":"trace","x":[["a",1,"b",5]]}',
        '{"k":"test","t":"b","s":"failed","f":[["a","x","b"]]}', '{"k":"trace","x":5}', '[[]]', '{"k":["x"]}',
        '{"k":"test","t":"b","s":"failed","f":[["a",1,"b",5]]}', '{"k":"test","t":"b","f":[[]],"s":"error"}',
    ):  # fmt: skip
        assert failures.read(f"@@{good}\n@@{bad}\nFAILED x::y", "@@", 1).exit_codes == (1,)


@pytest.mark.parametrize("source", ["lambda:" * 3000, "2**" * 3000 + "1", "-" * 90_000 + "1"])
def test_source_that_the_compiler_gives_up_on_has_no_functions(source: str) -> None:
    assert shape("a.py", source).functions == ()


def test_arguments_without_end_are_no_arguments() -> None:
    assert parse_arguments('{"a":' * 100_000) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "cp037"])
def test_no_encoding_hides_what_a_report_must_not_have(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY a "b">]><testsuite/>'
    assert junit.parse(text.encode(encoding)) is None


def bomb(root: Path) -> Path:
    """Return a repository of twenty objects whose one commit has ten billion files."""
    repository = make_repository(root / "bomb", {"f": "x\n"})
    kind, found = "100644 blob", git(repository, "rev-parse", "HEAD:f")
    for _ in range(10):
        lines = "".join(f"{kind} {found}\t{name}\n" for name in range(10))
        made = subprocess.run(
            ["git", "mktree"], cwd=repository, input=lines, capture_output=True, text=True, check=True
        )
        kind, found = "040000 tree", made.stdout.strip()
    git(repository, "reset", "--soft", git(repository, "commit-tree", "-m", "bomb", found))
    (repository / ".git" / "index").unlink()
    return repository


def test_a_tree_that_unfolds_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = bomb(tmp_path)
    monkeypatch.setattr(run, "MEMORY_BYTES", 64 * run.MIB)
    monkeypatch.setattr(run, "OUTPUT_BYTES", run.MIB)

    async def mirrored() -> None:
        mirror = await Mirror.open(tmp_path / "mirrors", str(repository))
        await mirror.fetch()
        await list_tree(mirror, await mirror.resolve("main"))

    with pytest.raises(GitError, match="git ls-tree printed more than 1 MiB"):
        asyncio.run(mirrored())
    with pytest.raises(GitError, match="git diff-index needed more than 64 MiB"):
        asyncio.run(changed_in_checkout(locate(str(repository))))
