"""`overnight run` over real git, SQLite and sandbox: what it prints and leaves, and never touches."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.cli.conftest import CHECK, Answer, digest, patching
from tests.house import BUGGY, FIX, Ended, House, git, make_repository

WRONG = FIX.replace("a + b", "a * b")


class Run(Protocol):
    """Runs "Fix add" on a repository, with `--json`."""

    def __call__(self, repository: Path, *more: str, model: str = "", **variables: str) -> Ended: ...


def command(repository: Path, model: str) -> tuple[str, ...]:
    return ("run", "Fix add", "--repo", str(repository), "--model", model, "--check", CHECK, "--json")


@pytest.fixture
def run(home: House, answer: Answer) -> Run:
    def call(repository: Path, *more: str, model: str = "", **variables: str) -> Ended:
        return answer(*command(repository, model or patching(home)), *more, **variables)

    return call


def mirror_of(home: House) -> Path:
    (mirror,) = (home.root / "data" / "mirrors").glob("*.git")
    return mirror


def test_a_verified_run_is_one_json_object_and_a_pull_request(house: House, repository: Path) -> None:
    before = digest(repository)
    ended = house.run(*command(repository, patching(house)))
    assert ended.code == 0, ended.stderr
    shown = ended.json
    assert shown["state"] == "done"
    (attempt,) = shown["attempts"]
    assert attempt["state"] == "succeeded"
    assert shown["picked"] == attempt["id"]
    assert attempt["verdict"]["verified"] is True
    (check,) = attempt["verdict"]["checks"]
    assert (check["command"], check["before"], check["after"]) == (CHECK, "red", "green")
    assert check["seconds"] > 0
    assert attempt["usage"]["model_calls"] == 2
    assert set(attempt["usage"]) == {
        "model_calls", "input_tokens", "cached_tokens", "output_tokens", "cost_usd",
    }  # fmt: skip
    assert set(attempt["seconds"]) == {"queued", "prepare", "work", "verify"}
    assert attempt["seconds"]["queued"] > 0
    patch = attempt["patch"]
    assert (patch["files"], patch["added"], patch["removed"]) == (["calc.py"], 1, 1)

    request = shown["pull_request"]
    assert (request["number"], request["state"], request["base"]) == (1, "open", "main")
    assert (request["branch"], request["commit"]) == (patch["branch"], patch["commit"])
    assert digest(repository) == before, "a run never writes to the checkout"

    mirror = mirror_of(house)
    log = git(mirror, "log", "--format=%H|%an|%cn|%P", patch["branch"], "-1")
    base = git(repository, "rev-parse", "main")
    assert log == f"{patch['commit']}|Overnight|Overnight|{base}"
    assert "return a + b" in git(mirror, "show", f"{patch['branch']}:calc.py")
    _nothing_left(house)


def _nothing_left(house: House) -> None:
    """No workspace stays, and no process of a sandbox."""
    workspaces = house.root / "data" / "workspaces"
    assert [path for path in workspaces.rglob("*") if path.is_dir() and path.name == "upper"] == []
    assert str(house.root) not in Path("/proc/mounts").read_text()


def test_progress_goes_to_stderr_and_names_the_files(run: Run, home: House, repository: Path) -> None:
    ended = run(repository)
    assert ended.code == 0
    assert len(ended.stdout.splitlines()) == 1
    for part in ("preparing", "working", "verifying", "M calc.py (+1 -1)", "verdict: verified", "ended:"):
        assert part in ended.stderr
    assert "\x1b" not in ended.stderr, "no colours where there is no terminal"


def test_a_wrong_patch_is_not_verified(run: Run, home: House, repository: Path) -> None:
    ended = run(repository, model=patching(home, WRONG, "wrong"))
    assert ended.code == 3
    shown = ended.json
    assert shown["attempts"][0]["verdict"]["verified"] is False
    assert shown["pull_request"] is None
    assert shown["attempts"][0]["patch"]["files"] == ["calc.py"]


def test_the_end_of_a_failing_check_is_shown(home: House, answer: Answer, repository: Path) -> None:
    check = "echo expected 5, got 6; printf '\\033[2J' >&2; false"
    ended = answer(
        "run", "Fix", "--repo", str(repository), "--model", patching(home, WRONG, "wrong"), "--check", check
    )
    assert ended.code == 3
    assert "    │ expected 5, got 6\n" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_the_end_of_a_failed_setup_is_shown(home: House, answer: Answer, tmp_path: Path) -> None:
    recipe = """setup = ["echo 'no such package: foo' >&2; false"]\n"""
    repository = make_repository(tmp_path / "broken", {**BUGGY, ".overnight.toml": recipe})
    ended = answer("run", "Fix", "--repo", str(repository), "--model", patching(home))
    assert ended.code == 3
    assert "    │ no such package: foo\n" in ended.stdout
    assert "[] means not at all" in ended.stdout, "what to do about it"


def test_a_repository_without_checks_is_told_before_the_work(
    home: House, answer: Answer, tmp_path: Path
) -> None:
    repository = make_repository(tmp_path / "plain", {"calc.py": BUGGY["calc.py"]})
    ended = answer("run", "Fix", "--repo", str(repository), "--model", patching(home))
    assert ended.code == 3
    assert ended.stderr.index("note: no checks") < ended.stderr.index("Task ")


def test_an_image_that_the_sandbox_does_not_take_is_told_before_the_work(
    home: House, answer: Answer, tmp_path: Path
) -> None:
    files = {"calc.py": BUGGY["calc.py"], ".devcontainer.json": '{"image": "python:3.12"}'}
    repository = make_repository(tmp_path / "imaged", files)
    ended = answer("run", "Fix", "--repo", str(repository), "--model", patching(home), "--check", "true")
    assert ended.stderr.index("note: the image python:3.12 is not used") < ended.stderr.index("Task ")


def test_an_agent_that_changes_nothing_is_not_verified(run: Run, home: House, repository: Path) -> None:
    ended = run(repository, model=home.script([{"text": "Looks fine to me."}], "idle"))
    assert ended.code == 3
    (attempt,) = ended.json["attempts"]
    assert attempt["patch"] is None
    assert "no files" in attempt["verdict"]["reason"]


def test_without_verification_it_is_never_called_verified(run: Run, home: House, repository: Path) -> None:
    ended = run(repository, "--no-verify")
    assert ended.code == 3
    (attempt,) = ended.json["attempts"]
    assert (attempt["state"], attempt["verdict"]["finding"]) == ("succeeded", "unverified")
    assert attempt["verdict"]["verified"] is False
    assert ended.json["pull_request"] is None
    assert " verified" not in ended.stderr


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_three_attempts_side_by_side_or_queued(
    run: Run, answer: Answer, repository: Path, at_once: str
) -> None:
    ended = run(repository, "--attempts", "3", OVERNIGHT_ATTEMPTS_AT_ONCE=at_once)
    assert ended.code == 0, ended.stderr
    shown = ended.json
    assert [attempt["number"] for attempt in shown["attempts"]] == [1, 2, 3]
    assert [attempt["verdict"]["verified"] for attempt in shown["attempts"]] == [True] * 3
    assert len({attempt["patch"]["branch"] for attempt in shown["attempts"]}) == 3
    assert shown["picked"] in {attempt["id"] for attempt in shown["attempts"]}
    assert shown["pull_request"]["attempt"] == shown["picked"]
    if at_once == "1":
        spans: list[tuple[float, float]] = []
        for attempt in shown["attempts"]:
            lines = answer("task", "logs", attempt["id"], "--json").stdout.splitlines()
            spans.append((json.loads(lines[0])["at"], json.loads(lines[-1])["at"]))
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(spans)), "one at a time"


def test_the_best_verified_attempt_is_picked(run: Run, home: House, repository: Path) -> None:
    models = (
        home.script([{"text": "Nothing to do."}], "one"),
        patching(home, WRONG, "two"),
        patching(home, FIX, "three"),
    )
    ended = run(repository, model=",".join(models))
    assert ended.code == 0, ended.stderr
    shown = ended.json
    best = shown["attempts"][2]
    assert [attempt["verdict"]["verified"] for attempt in shown["attempts"]] == [False, False, True]
    assert shown["picked"] == shown["pull_request"]["attempt"] == best["id"]


def test_two_runs_at_once_share_one_data_directory(house: House, repository: Path) -> None:
    model = patching(house)
    processes = [house.start(*command(repository, model)) for _ in range(2)]
    outputs = [process.communicate(timeout=180) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    listed: list[Any] = house.run("pr", "list", "--json").json
    assert sorted(request["number"] for request in listed) == [1, 2]
    assert len(house.run("task", "list", "--json").json) == 2


def test_a_dirty_checkout_is_named_and_stays_out_of_the_base(run: Run, home: House, repository: Path) -> None:
    (repository / "README.md").write_text("Changed, not committed.\n")
    (repository / "notes.txt").write_text("New.\n")
    before = digest(repository)
    reading = {"name": "shell", "arguments": {"command": "cat README.md; ls"}}
    model = home.script([{"tool_calls": [reading]}, {"text": "Read."}], "reading")
    ended = run(repository, model=model)
    (note,) = [line for line in ended.stderr.splitlines() if line.startswith("note: ")]
    assert "README.md" in note
    log = home.run("task", "logs", ended.json["task"]).stdout
    assert "A calculator." in log
    assert "Changed, not committed." not in log
    assert "notes.txt" not in log
    assert digest(repository) == before


def test_a_shallow_clone_is_worked_on(run: Run, home: House, repository: Path, tmp_path: Path) -> None:
    (repository / "README.md").write_text("Two.\n")
    git(repository, "commit", "-qam", "second")
    clone = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(clone))
    before = digest(clone)
    ended = run(clone)
    assert ended.code == 0, ended.stderr
    assert digest(clone) == before


def test_submodules_and_large_files_are_told_of(
    run: Run, home: House, repository: Path, tmp_path: Path
) -> None:
    other = make_repository(tmp_path / "other", {"lib.py": "X = 1\n"})
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "lib")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    (repository / "model.bin").write_text(pointer)
    (repository / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    git(repository, "-c", "filter.lfs.clean=cat", "-c", "filter.lfs.required=false", "add", "-A")
    git(repository, "commit", "-qm", "parts")
    ended = run(repository)
    assert ended.code == 0, ended.stderr
    notes = "\n".join(line for line in ended.stderr.splitlines() if line.startswith("note: "))
    assert "submodule" in notes
    assert "lib" in notes
    assert "LFS" in notes
    assert ended.json["attempts"][0]["patch"]["files"] == ["calc.py"]


def test_a_named_base_is_what_is_worked_on(run: Run, home: House, repository: Path) -> None:
    git(repository, "checkout", "-qb", "fixed")
    (repository / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    git(repository, "commit", "-qam", "fixed already")
    ended = run(repository, "--base", "main")
    assert ended.code == 0, ended.stderr
    assert ended.json["base"] == {"ref": "main", "commit": git(repository, "rev-parse", "main")}


def test_a_command_of_the_persons_hears_of_every_end(run: Run, home: House, repository: Path) -> None:
    told = home.root / "told"
    tell = f'echo "$OVERNIGHT_EXIT_CODE $OVERNIGHT_TASK $OVERNIGHT_PULL_REQUEST $OVERNIGHT_TITLE" > {told}'
    good = run(repository, "--notify-command", tell)
    assert good.code == 0
    number = good.json["pull_request"]["number"]
    assert told.read_text().strip() == f"0 {good.json['task']} {number} Fix add"
    model = home.script([{"text": "No."}], "idle")
    bad = run(repository, model=model, OVERNIGHT_NOTIFY_COMMAND=tell)
    assert bad.code == 3
    assert told.read_text().strip() == f"3 {bad.json['task']}  Fix add"
    failing = run(repository, "--notify-command", "echo to-stdout; exit 7", model=model)
    assert failing.code == 3
    assert "exit code 7" in failing.stderr
    assert failing.json["task"], "what the command prints does not mix with our data"


def test_the_terminal_stays_whole_under_a_hostile_task(home: House, repository: Path) -> None:
    hostile = "Fix \x1b]0;owned\x07 add\u202e now"
    model = patching(home)
    ended = home.run("run", hostile, "--repo", str(repository), "--model", model, "--check", CHECK)
    assert ended.code == 0, ended.stderr
    for text in (ended.stdout, ended.stderr, home.run("task", "list").stdout):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_output_closed_early_is_no_error(run: Run, home: House, repository: Path) -> None:
    identifier = run(repository).json["task"]
    process = subprocess.Popen(
        home.command("task", "logs", identifier, "--json"),
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 1)
