"""`overnight env`: what a repository's environment is, and commands run in it as an attempt's would be."""

from pathlib import Path

import pytest

from tests.cli.conftest import Answer, digest
from tests.house import House, make_repository


@pytest.fixture(scope="module")
def repository(place: Path) -> Path:
    return make_repository(place / "repository")


def run(answer: Answer, repository: Path, script: str, *more: str) -> tuple[int, str, str]:
    ended = answer("env", "exec", "--repo", str(repository), *more, "--", "bash", "-c", script)
    return ended.code, ended.stdout, ended.stderr


def test_detect_says_what_and_why(answer: Answer, repository: Path) -> None:
    recipe = answer("env", "detect", "--repo", str(repository), "--json").json
    assert "python" in recipe["languages"]
    assert any("unittest" in check for check in recipe["checks"])
    assert recipe["setup"] == []
    text = answer("env", "detect", "--repo", str(repository)).stdout
    assert recipe["checks"][0] in text
    assert "because:" in text


def test_detect_reads_the_file_of_the_repository(answer: Answer, tmp_path: Path) -> None:
    own = {".overnight.toml": 'checks = ["sh check.sh"]\n', "check.sh": "true\n"}
    repository = make_repository(tmp_path / "own", own)
    assert answer("env", "detect", "--repo", str(repository), "--json").json["checks"] == ["sh check.sh"]


def test_no_check_at_all_is_said(answer: Answer, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "bare", {"notes.txt": "x\n"})
    ended = answer("env", "detect", "--repo", str(repository))
    assert ended.code == 0
    assert "--check" in ended.stderr


def test_output_and_exit_code_pass_through(answer: Answer, repository: Path) -> None:
    before = digest(repository)
    assert run(answer, repository, "cat README.md; echo oops >&2; rm -r *; exit 7") == (
        7, "A calculator.\n", "oops\n",
    )  # fmt: skip
    assert run(answer, repository, "ls") == (0, "README.md\ncalc.py\ntest_calc.py\n", "")
    assert digest(repository) == before


def test_a_signal_is_told_as_a_shell_does(answer: Answer, repository: Path) -> None:
    assert run(answer, repository, "kill -9 $$")[0] == 137


def test_a_missing_command_is_127(answer: Answer, repository: Path) -> None:
    ended = answer("env", "exec", "--repo", str(repository), "--", "no-such-program")
    assert ended.code == 127
    assert "no-such-program" in ended.stderr


def test_there_is_no_network_by_default(answer: Answer, repository: Path) -> None:
    script = "exec 3<>/dev/tcp/127.0.0.1/9"
    code, _, _ = run(answer, repository, script)
    assert code != 0
    code, out, _ = run(answer, repository, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")
    assert (code, out) == (0, "lo\n")


def test_the_home_of_the_person_is_invisible(answer: Answer, home: House, repository: Path) -> None:
    secret = home.root / "secret"
    secret.write_text("s3cret")
    code, out, _ = run(
        answer, repository, f"cat {secret}; ls {home.root} {home.root.parent}; env; id -u; cat ~/secret"
    )
    assert code != 0
    assert "s3cret" not in out
    assert "OVERNIGHT" not in out
    assert "data" not in out.split()


def test_limits_are_told(answer: Answer, repository: Path) -> None:
    code, _, errors = run(answer, repository, "sleep 60", "--limit", "1s")
    assert code != 0
    assert "command_seconds" in errors


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [("--network", "wifi", "wifi"), ("--limit", "soon", "soon"), ("--sandbox", "jail", "jail")],
)
def test_options_that_cannot_be(answer: Answer, repository: Path, option: str, value: str, part: str) -> None:
    code, out, errors = run(answer, repository, "true", option, value)
    assert (code, out) == (64, "")
    assert part in errors


def test_a_command_must_be_given(answer: Answer, repository: Path) -> None:
    assert answer("env", "exec", "--repo", str(repository)).code == 64
