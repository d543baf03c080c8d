"""Parsing apart: hostile files, a parser that lies, and what its process may do."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.agents.codemap.child import MAX_DEFINITIONS, MAX_REFERENCES
from overnight.agents.codemap.languages import KINDS
from overnight.agents.codemap.parsers import ParserError, ParserProcess, Parsers, Source
from overnight.agents.codemap.tags import MAX_NAME, MAX_SIGNATURE, Mention, Positions, Tags, cut

ATTEMPTS = """
import os, socket, sys, threading
from overnight.agents.codemap.child import confine
allowed = []
def attempt(name, action):
    try:
        action()
    except (OSError, RuntimeError):
        return
    allowed.append(name)
confine()
attempt("open", lambda: os.open("/etc/hostname", os.O_RDONLY))
attempt("create", lambda: os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY))
attempt("list", lambda: os.listdir("/"))
attempt("stat", lambda: os.stat("/etc/passwd"))
attempt("socket", lambda: socket.socket())
attempt("fork", os.fork)
attempt("thread", lambda: threading.Thread(target=print).start())
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("kill", lambda: os.kill(os.getppid(), 0))
os.write(1, (",".join(allowed) or "nothing").encode())
"""


def parse(language: str, content: bytes, seconds: float = 60.0) -> Tags:
    parsers = Parsers(seconds, processes=1)
    try:
        return parsers.parse([Source(language, content)])[0]
    finally:
        parsers.close()


def test_the_process_may_compute_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, str(tmp_path / "made")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("nothing", 0), done.stderr
    assert not (tmp_path / "made").exists()


def test_a_file_that_takes_too_long_is_given_up_and_the_others_are_not() -> None:
    parsers = Parsers(seconds=0.05, processes=1)
    try:
        slow, quick = parsers.parse(
            [Source("python", b"(" * 150_000), Source("python", b"def quick(): pass\n")]
        )
    finally:
        parsers.close()
    assert slow.skipped == "map_parse_seconds=0.05"
    assert [one.name for one in quick.definitions] == ["quick"]


@pytest.mark.parametrize(
    ("language", "content"),
    [
        ("python", b"x = " + b"(" * 20_000 + b")" * 20_000),
        ("javascript", b"[" * 20_000),
        ("cpp", bytes(range(256)) * 200),
        ("ruby", b"<<A\n" * 5_000),
        ("tsx", b"<A>" * 10_000),
        ("rust", b"fn f() -> " + b"A<" * 10_000),
        ("go", b"\xff\xfe" + b"func f() {" * 1_000),
        ("java", b""),
    ],
)
def test_hostile_files_end_quietly(language: str, content: bytes) -> None:
    assert parse(language, content).skipped == ""


def test_one_file_cannot_flood_the_map() -> None:
    many = b"".join(b"def f%d(): g%d()\n" % (number, number) for number in range(6_000))
    tags = parse("python", many)
    assert len(tags.definitions) == MAX_DEFINITIONS
    assert len(tags.references) == MAX_REFERENCES


def test_what_is_cut_out_is_one_printable_line() -> None:
    source = "def f(a='\x1b]0;title\x07\u202e',\n\tb=1): pass\ndef " + "x" * 300 + "(): pass\n"
    tags = parse("python", source.encode())
    assert [one.name for one in tags.definitions] == ["f"]
    assert tags.definitions[0].signature.isprintable()
    long = parse("python", b"def f(" + b"argument, " * 100 + b"): pass\n").definitions[0]
    assert len(long.signature) == MAX_SIGNATURE


NUMBER = st.integers(-5, 60)


@given(
    st.binary(max_size=50),
    st.lists(st.tuples(st.integers(-1, len(KINDS)), NUMBER, NUMBER, NUMBER, NUMBER, NUMBER), max_size=5),
    st.lists(st.tuples(NUMBER, NUMBER, st.integers(-1, 1000)), max_size=5),
)
def test_a_parser_that_lies_can_only_point_into_the_file(
    content: bytes, definitions: list[Positions], references: list[Mention]
) -> None:
    tags = cut(content, definitions, references)
    if tags is None:
        return
    text = content.decode("utf-8", "replace")
    for definition in tags.definitions:
        assert definition.name.encode() in content or "\ufffd" in definition.name
        assert len(definition.name) <= MAX_NAME
        assert 1 <= definition.line <= definition.end_line + 1 <= text.count("\n") + 2
        assert definition.scope < len(tags.definitions)
    assert len(tags.references) == len(tags.counts)
    assert all(name.encode() in content or "\ufffd" in name for name in tags.references)


def test_a_process_that_is_gone_says_so() -> None:
    process = ParserProcess(["python"])
    process.close()
    with pytest.raises(ParserError, match="broke down"):
        process.positions("python", 60.0, [b"x"])
