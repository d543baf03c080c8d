"""Agent programs of a person's own, and other versions of known ones, from the configuration file."""

from pathlib import Path
from typing import Any

import pytest

from overnight.agents.catalog import BUILT_IN
from overnight.agents.programs.configured import configured
from overnight.agents.programs.table import Wiring
from overnight.domain.errors import UsageError
from tests.house import CHECK, House, make_repository

WIRING = Wiring(url="http://gateway", model="m", context_tokens=100, output_tokens=10)


def test_what_is_described_becomes_a_program() -> None:
    table = {
        "command": "mine",
        "arguments": ["-m", "{model}", "{prompt}"],
        "variables": {"URL": "{url}/v1"},
        "files": {".mine": '{"window": {context_tokens}}'},
        "protocol": [],
        "keeps": [".sessions"],
    }
    program = configured({"mine": table}, BUILT_IN)[-1]
    launch = program.launch(WIRING)
    assert launch.argv == ("mine", "-m", "m", "{prompt}")
    assert (launch.variables, launch.files) == ({"URL": "http://gateway/v1"}, {".mine": '{"window": 100}'})
    assert (program.by_protocol, program.keeps[0], launch.prompt_argument) == (True, ".sessions", True)


def test_a_known_program_gets_another_version() -> None:
    programs = {one.name: one for one in configured({"codex": {"version": "0.1.2"}}, BUILT_IN)}
    assert programs["codex"].pinned == "@openai/codex@0.1.2"
    assert programs["aider"].version


@pytest.mark.parametrize(
    ("name", "table", "says"),
    [
        ("loop", {"command": "x"}, "built in"),
        ("codex", {"command": "x"}, "unknown field `command`"),
        ("codex", {"version": "1 --evil"}, "no version"),
        ("goose", {"version": "1"}, "no version"),
        ("Mine", {"command": "x"}, "small letters"),
        ("mine", {}, "missing required field `command`"),
        ("mine", {"command": "../x"}, "in your PATH"),
        ("mine", {"command": "x", "files": {"/etc/passwd": ""}}, "outside"),
        ("mine", {"command": "x", "keeps": ["../.."]}, "outside"),
        ("mine", {"command": "x", "arguments": "text"}, "array"),
        ("mine", 7, "object"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, table: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        configured({name: table}, BUILT_IN)


MINE = """
import json, os, sys, urllib.request
body = json.dumps({
    "messages": [{"role": "user", "content": sys.argv[1]}], "model": os.environ["MODEL"],
    "tools": [{"type": "function", "function": {"name": "sh", "parameters": {"type": "object"}}}],
}).encode()
address = os.environ["URL"] + "/chat/completions"
with urllib.request.urlopen(urllib.request.Request(address, body)) as response:
    answer = json.load(response)["choices"][0]["message"]["content"]
text = open("calc.py").read()
open("calc.py", "w").write(text.replace("a - b", answer))
"""


def test_a_program_of_ones_own_works_to_a_verified_patch(house: House, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    config = tmp_path / "config.toml"
    config.write_text(
        "[agents.mine]\ncommand = 'python3'\narguments = ['-c', '''" + MINE + "''', '{prompt}']\n"
        "variables = { URL = '{url}/v1', MODEL = '{model}' }\n"
    )
    listed = house.run("agent", "list", OVERNIGHT_CONFIG=str(config))
    assert "mine" in listed.stdout, listed.stderr
    ended = house.run(
        "run", "add subtracts", "--repo", str(repository), "--check", CHECK, "--agent", "mine",
        "--model", house.script([{"text": "a + b"}]), "--json", OVERNIGHT_CONFIG=str(config),
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    attempt = ended.json["attempts"][0]
    assert (attempt["agent"], attempt["verdict"]["finding"]) == ("mine", "verified")
