"""What cannot be done is said in one line on stderr, with an exit code, and never as a traceback."""

import json
from pathlib import Path

import pytest

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


def run(home: House, repo: Path | str, *more: str) -> Ended:
    return home.run("run", "Fix add", "--repo", str(repo), "--model", home.fixing_script(), *more)


def test_a_path_that_is_no_repository(home: House, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    refused(run(home, tmp_path), 64, str(tmp_path))


def test_a_path_that_is_not_there(home: House, tmp_path: Path) -> None:
    refused(run(home, tmp_path / "nowhere"), 64, "nowhere")


def test_a_repository_without_commits(home: House, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    refused(run(home, tmp_path), 64, "no commits", "git commit")


def test_a_missing_ref_names_those_near_it(home: House, repository: Path) -> None:
    git(repository, "branch", "-f", "feature/parser")
    refused(run(home, repository, "--base", "feature/parsr"), 64, "feature/parsr", "feature/parser")


@pytest.mark.parametrize("base", ["--upload-pack=touch /tmp/x", "main..main", "a b", "-", "@{u}", "\x00"[:0]])
def test_a_base_that_is_no_ref(home: House, repository: Path, base: str) -> None:
    refused(run(home, repository, f"--base={base}"), 64)


@pytest.mark.parametrize("task", ["", "   \n"])
def test_an_empty_task(home: House, repository: Path, task: str) -> None:
    refused(home.run("run", task, "--repo", str(repository)), 64, "empty")


def test_a_missing_task(home: House) -> None:
    refused(home.run("run"), 64, "TASK")


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
        (("--attempts", "many"), ("many",)),
        (("--wait", "never"), ("never",)),
        (("--check", "  "), ("check",)),
        (("--wizardry",), ("--wizardry",)),
    ],
)
def test_options_that_cannot_be(
    home: House, repository: Path, options: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run(home, repository, *options), 64, *parts)


def test_a_key_that_is_not_set(home: House, repository: Path) -> None:
    refused(run(home, repository, "--model", "anthropic:claude"), 4, "ANTHROPIC_API_KEY")


def test_unknown_commands_and_identifiers(home: House) -> None:
    refused(home.run("dance"), 64, "dance")
    for command in ("view", "logs", "diff", "apply", "checkout", "cancel", "resume"):
        refused(home.run("task", command, "abcdef12"), 64, "abcdef12")
    for command in ("view", "merge"):
        refused(home.run("pr", command, "77"), 64, "77")
    refused(home.run("pr", "create", "abcdef12"), 64, "abcdef12")
    refused(home.run("task", "list", "--state", "lost"), 64, "lost")


def test_settings_that_cannot_be(home: House) -> None:
    refused(home.run("task", "list", OVERNIGHT_ATTEMPTS_AT_ONCE="x"), 64, "OVERNIGHT_ATTEMPTS_AT_ONCE")
    refused(home.run("task", "list", OVERNIGHT_DISK_LIMIT="x"), 64, "OVERNIGHT_DISK_LIMIT")


def test_a_data_directory_that_cannot_be_made(home: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(home.run("task", "list", OVERNIGHT_DATA_DIR=str(tmp_path / "file" / "data")), 1, "file")


def test_a_url_that_nobody_answers(home: House) -> None:
    refused(run(home, "http://127.0.0.1:9/x.git"), 1, "127.0.0.1:9")


def test_nothing_refused_left_a_task_behind(home: House) -> None:
    """Runs last in this module: every refusal above came before anything was stored."""
    assert json.loads(home.run("task", "list", "--json").stdout) == []


def test_help_is_there_for_every_command(home: House) -> None:
    ended = home.run("--help")
    assert ended.code == 0
    for name in ("run", "task", "pr", "env", "model", "prune"):
        assert name in ended.stdout
    assert home.run().code == 0
    assert home.run("--version").stdout.strip()
