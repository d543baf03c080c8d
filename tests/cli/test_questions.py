"""A question is asked on the terminal that the run was started from, and the run goes on with the answer."""

import os
import pty
import select
import subprocess
from pathlib import Path

from tests.cli.conftest import stepping
from tests.house import SECONDS, House

ASK = {"name": "ask", "arguments": {"question": "Add or subtract?", "choices": ["add", "subtract"]}}


def read_until(terminal: int, wanted: str) -> str:
    """Read what the run prints on its terminal, until `wanted` or its end."""
    shown = ""
    while wanted not in shown:
        assert select.select([terminal], [], [], SECONDS)[0], f"nothing more comes after: {shown[-500:]}"
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break  # nobody has the other end open any more
        if not piece:
            break
        shown += piece.decode(errors="replace")
    return shown


def test_a_question_is_answered_on_the_terminal(house: House, repository: Path) -> None:
    model = stepping(house, [ASK], "asking")
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        house.command("run", "Fix add", "--repo", str(repository), "--model", model, "--no-verify"),
        env={**house.environment, "TERM": "dumb"},
        stdin=other,
        stdout=subprocess.PIPE,
        stderr=other,
        text=True,
    )
    os.close(other)
    shown = read_until(terminal, "Answer (empty: later): ")
    assert "Add or subtract?" in shown
    assert "2. subtract" in shown
    os.write(terminal, b"2\n")
    rest = read_until(terminal, "\0")
    out, _ = process.communicate(timeout=180)
    os.close(terminal)
    assert process.returncode == 3, shown + rest
    assert "accepted: answer subtract" in out
    view = house.run("task", "list", "--json").json[0]
    assert view["state"] == "done"
    assert [(one["kind"], one["text"]) for one in view["attempts"][0]["commands"]] == [("answer", "subtract")]


def test_a_question_that_is_left_open_keeps_the_exit_code(house: House, repository: Path) -> None:
    model = stepping(house, [ASK], "asking")
    ended = house.run("run", "Fix add", "--repo", str(repository), "--model", model)
    assert ended.code == 5, ended.stderr
    assert "answer it:  overnight task answer" in ended.stdout
    task = house.run("task", "list", "--json").json[0]["task"]
    answered = house.run("task", "answer", task, "add", "--json")
    assert answered.json["attempts"][0]["commands"][0]["state"] == "accepted", answered.stderr
