"""What cannot be done is said in one line on stderr, with an exit code, and never as a traceback."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Answer
from tests.house import Ended, House, git, make_repository


@pytest.fixture(scope="module")
def repository(place: Path) -> Path:
    return make_repository(place / "repository")


def refused(ended: Ended, code: int, *parts: str) -> None:
    """Check the answer: its code, nothing on stdout, one error line, and what it must name."""
    assert ended.code == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ended.stderr
    for part in parts:
        assert part in ended.stderr


def run(answer: Answer, home: House, repo: Path | str, *more: str) -> Ended:
    return answer("run", "Fix add", "--repo", str(repo), "--model", home.fixing_script(), *more)


def test_a_path_that_is_no_repository(home: House, answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    refused(run(answer, home, tmp_path), 64, str(tmp_path))


def test_a_path_that_is_not_there(home: House, answer: Answer, tmp_path: Path) -> None:
    refused(run(answer, home, tmp_path / "nowhere"), 64, "nowhere")


def test_no_model_is_fetched_for_what_cannot_be(answer: Answer, tmp_path: Path) -> None:
    ended = answer("run", "Fix add", "--repo", str(tmp_path / "nowhere"), "--model", "embedded")
    refused(ended, 64, "nowhere")
    assert "fetching" not in ended.stderr


def test_a_repository_without_commits(home: House, answer: Answer, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    refused(run(answer, home, tmp_path), 64, "no commits", "git commit")


def test_a_missing_ref_names_those_near_it(home: House, answer: Answer, repository: Path) -> None:
    git(repository, "branch", "-f", "feature/parser")
    refused(run(answer, home, repository, "--base", "feature/parsr"), 64, "feature/parsr", "feature/parser")


@pytest.mark.parametrize("base", ["--upload-pack=touch /tmp/x", "main..main", "a b", "-", "@{u}", ""])
def test_a_base_that_is_no_ref(home: House, answer: Answer, repository: Path, base: str) -> None:
    refused(run(answer, home, repository, f"--base={base}"), 64)


@pytest.mark.parametrize("task", ["", "   \n"])
def test_an_empty_task(home: House, answer: Answer, repository: Path, task: str) -> None:
    refused(answer("run", task, "--repo", str(repository)), 64, "empty")


def test_a_missing_task(answer: Answer) -> None:
    refused(answer("run"), 64, "TASK")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--model", "nobody:knows"), ("nobody",)),
        (("--model", "scripted:/nowhere.json"), ("/nowhere.json",)),
        (("--agent", "wizard"), ("wizard", "repair", "loop")),
        (("--sandbox", "chroot"), ("chroot", "namespaces")),
        (("--limit", "soon"), ("soon", "10m")),
        (("--limit", "0"), ("'0'",)),
        (("--memory", "lots"), ("lots",)),
        (("--attempts", "0"), ("--attempts",)),
        (("--attempts", "many"), ("--attempts", "integer")),
        (("--wait", "never"), ("never",)),
        (("--check", "  "), ("check",)),
        (("--wizardry",), ("--wizardry",)),
    ],
)
def test_options_that_cannot_be(
    home: House, answer: Answer, repository: Path, options: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run(answer, home, repository, *options), 64, *parts)


def test_a_key_that_is_not_set(home: House, answer: Answer, repository: Path) -> None:
    refused(run(answer, home, repository, "--model", "anthropic:claude"), 4, "ANTHROPIC_API_KEY")


def test_unknown_commands_and_identifiers(answer: Answer) -> None:
    refused(answer("dance"), 64, "dance")
    for command in ("view", "logs", "diff", "apply", "checkout", "cancel", "resume"):
        refused(answer("task", command, "abcdef12"), 64, "abcdef12")
    for command in ("view", "merge"):
        refused(answer("pr", command, "77"), 64, "77", "overnight pr list")
    refused(answer("pr", "create", "abcdef12"), 64, "abcdef12")
    refused(answer("task", "list", "--state", "lost"), 64, "lost")


def test_settings_that_cannot_be(answer: Answer) -> None:
    refused(answer("task", "list", OVERNIGHT_ATTEMPTS_AT_ONCE="x"), 64, "OVERNIGHT_ATTEMPTS_AT_ONCE")
    refused(answer("task", "list", OVERNIGHT_DISK_LIMIT="x"), 64, "OVERNIGHT_DISK_LIMIT")


def test_a_data_directory_that_cannot_be_made(home: House, answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(answer("task", "list", OVERNIGHT_DATA_DIR=str(tmp_path / "file" / "data")), 1, "file")

    refused(answer("task", "list", OVERNIGHT_DATA_DIR=str(tmp_path / "file")), 1, "OVERNIGHT_DATA_DIR")


def test_a_repository_with_a_mistaken_recipe(home: House, answer: Answer, tmp_path: Path) -> None:
    mistaken = make_repository(tmp_path / "mistaken", {".overnight.toml": 'chekcs = ["true"]\n'})
    refused(run(answer, home, mistaken), 64, "chekcs", "checks")


def test_a_url_that_nobody_answers(home: House, answer: Answer) -> None:
    refused(run(answer, home, "https://127.0.0.1:9/x.git"), 1, "127.0.0.1")


def test_a_process_says_the_same(home: House) -> None:
    refused(home.run("task", "view", "abcdef12"), 64, "abcdef12")


def test_nothing_refused_left_a_task_behind(answer: Answer) -> None:
    """Runs last in this module: every refusal above came before anything was stored."""
    assert json.loads(answer("task", "list", "--json").stdout) == []


def test_help_is_there_for_every_command(answer: Answer) -> None:
    ended = answer("--help")
    assert ended.code == 0
    for name in ("run", "task", "pr", "env", "model", "prune"):
        assert name in ended.stdout
    assert answer().code == 0
    assert answer("--version").stdout.strip()
