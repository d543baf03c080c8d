"""The tool-calling loop over a real workspace and sandbox, driven by the scripted model."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from overnight.domain.conversation import Completion, Message
from overnight.domain.events import (
    CheckpointCreated,
    CommandOutput,
    FileChanged,
    LimitHit,
    MessageAdded,
    PolicyBlocked,
    StepEnded,
    ToolCallEnded,
)
from overnight.domain.limits import Limits
from overnight.domain.task import Usage
from overnight.events.folds import finished_history
from overnight.models.scripted import ScriptedModel
from tests.agents.repair.workplace import Workplace
from tests.agents.working import DONE, call, edit, work

pytestmark = pytest.mark.anyio

FILES = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "notes.txt": "one\ntwo\nthree\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n",
}


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, FILES)


FIX = edit("*** Update File: calc.py", "@@ def add(a, b):", "-    return a - b", "+    return a + b")


async def test_edits_are_made_kept_and_summed_up(place: Workplace) -> None:
    worked = await work(place, FIX, Completion(text="It adds now.\n"))
    assert worked.outcome.summary == "It adds now."
    assert not worked.outcome.gave_up
    assert worked.text("calc.py") == "def add(a, b):\n    return a + b\n"
    assert worked.of(FileChanged) == [FileChanged(path="calc.py", change="modified", added=1, removed=1)]
    assert worked.outcome.usage.model_calls == 2
    assert [event.step for event in worked.of(StepEnded)] == [1, 2]
    (kept,) = worked.of(CheckpointCreated)
    assert worked.of(StepEnded)[-1].checkpoint == kept.digest
    opening = worked.model.requests[0]
    assert "Make the failing test pass." in opening.messages[1].text
    assert "python3 -m pytest -q" in opening.messages[1].text
    names = "shell process apply_patch read search view_image plan ask"
    assert [tool.name for tool in opening.tools] == names.split()


@pytest.mark.parametrize(
    ("completion", "part"),
    [
        (call("teleport", {}), "There is no tool 'teleport'"),
        (call("shell", "{not json"), "not a JSON object"),
        (call("shell", "[1]"), "not a JSON object"),
        (call("shell", {}), "`command`"),
        (call("shell", {"command": 7}), "`command`"),
        (call("shell", {"command": "echo out; echo err >&2; exit 3"}), "[exit code 3]"),
        (call("read", {"path": "nowhere.py"}), "no such file"),
        (call("read", {"path": "../../etc/passwd"}), "etc/passwd"),
        (call("read", {"path": 3}), "`path`"),
        (call("search", {"pattern": "("}), "("),
        (call("search", {"pattern": "zebra"}), "No line matches"),
        (call("apply_patch", {}), "`patch`"),
        (edit("*** Update File: calc.py", "@@", "-nothing like it", "+x"), "calc.py"),
        (edit("*** Update File: gone.py", "@@", "-a", "+b"), "gone.py"),
        (edit("*** Delete File: gone.py"), "gone.py"),
        (edit("*** Add File: /etc/x", "+x"), "relative"),
        (edit("*** Add File: ../x", "+x"), "outside"),
        (edit("*** Add File: .git/hooks/post-commit", "+x"), "outside"),
        (edit("*** Add File: a/.GIT/config", "+x"), "outside"),
        (edit("*** Add File: new.txt", "+x", "*** Add File: calc.py/below.txt", "+x"), "calc.py"),
        (edit("*** Add File: new.txt", "+x", f"*** Add File: {'long' * 99}.txt", "+x"), "long"),
        (edit("*** Add File: new.txt", "+x", "*** Add File: tests", "+x"), "tests"),
        (call("read", {"path": "long" * 99}), "long"),
        (call("read", {"path": "tests"}), "tests"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(
    place: Workplace, completion: Completion, part: str
) -> None:
    worked = await work(place, completion, DONE)
    assert part in worked.told
    assert worked.outcome.summary == "Done."
    assert worked.workspace.changes() == []


async def test_results_of_the_reading_tools(place: Workplace) -> None:
    worked = await work(place, call("read", {"path": "notes.txt", "start": 2, "lines": 1}), DONE)
    assert worked.told == "2\ttwo\n[lines 2-2 of 3]"
    worked = await work(place, call("search", {"pattern": "t(wo|hree)", "path": "notes.txt"}), DONE)
    assert worked.told == "notes.txt:2:two\nnotes.txt:3:three"
    assert all(event.ok for event in worked.of(ToolCallEnded))


async def test_existing_tests_are_protected_and_new_ones_are_not(place: Workplace) -> None:
    worked = await work(place, edit("*** Delete File: tests/test_calc.py"), DONE)
    assert "protected" in worked.told
    assert worked.of(PolicyBlocked) == [PolicyBlocked(what="protected file", detail="tests/test_calc.py")]
    worked = await work(place, edit("*** Add File: tests/test_more.py", "+def test_more(): pass"), DONE)
    assert worked.text("tests/test_more.py") == "def test_more(): pass\n"


async def test_a_patch_is_all_or_nothing(place: Workplace) -> None:
    worked = await work(
        place,
        edit(
            "*** Add File: new.py", "+x = 1",
            "*** Update File: calc.py", "@@", "-    return a - b", "+    return a + b",
            "*** Update File: notes.txt", "@@", "-no such line", "+four",
        ),
        DONE,
    )  # fmt: skip
    assert "notes.txt" in worked.told
    assert worked.workspace.changes() == []
    assert worked.of(FileChanged) == []


@pytest.mark.parametrize(
    "wrapper",
    [
        "apply_patch <<'EOF'\n{patch}\nEOF",
        "cd tests && apply_patch <<'EOF'\n{patch}\nEOF",
    ],
)
async def test_a_patch_given_as_a_shell_command_is_taken(place: Workplace, wrapper: str) -> None:
    patch = "*** Begin Patch\n*** Add File: added.txt\n+hello\n*** End Patch"
    worked = await work(place, call("shell", {"command": wrapper.format(patch=patch)}), DONE)
    where = "tests/added.txt" if wrapper.startswith("cd") else "added.txt"
    assert worked.text(where) == "hello\n"
    assert [event.path for event in worked.of(FileChanged)] == [where]


async def test_links_out_of_the_workspace_are_not_followed(place: Workplace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("s3cret\n")
    outside.chmod(0o777)
    script = f"ln -s {outside} way; ln -s {outside}/secret.txt file; ln -s /etc/passwd users"
    for escape in (
        call("read", {"path": "way/secret.txt"}),
        call("read", {"path": "file"}),
        call("read", {"path": "users"}),
        edit("*** Add File: way/new.txt", "+x"),
        edit("*** Update File: file", "@@", "-guess", "+mine"),
        edit("*** Delete File: way/secret.txt"),
    ):
        worked = await work(place, call("shell", {"command": script}), escape, DONE)
        assert "s3cret" not in worked.told
        assert "root:" not in worked.told
        worked.workspace.close()
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "s3cret\n"


async def test_long_output_is_cut_in_the_middle_for_the_model_only(place: Workplace) -> None:
    script = "echo begin; head -c 40000 /dev/zero | tr '\\0' x; echo; echo end"
    worked = await work(place, call("shell", {"command": script}), DONE)
    assert len(worked.told) < 11_000
    assert worked.told.startswith("begin")
    assert "characters left out" in worked.told
    assert "end\n[exit code 0]" in worked.told
    assert sum(len(event.text) for event in worked.of(CommandOutput)) > 40_000


async def test_an_answer_that_was_cut_is_asked_to_go_on(place: Workplace) -> None:
    worked = await work(place, Completion(text="Well, first", finish="length"), DONE)
    assert worked.outcome.summary == "Done."
    assert worked.model.requests[1].messages[-1].role == "user"
    assert "cut off" in worked.model.requests[1].messages[-1].text


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(steps=2), "steps"),
        (Limits(tokens=100), "tokens"),
        (Limits(attempt_seconds=0.5), "attempt_seconds"),
    ],
)
async def test_limits_end_the_work_and_are_named(place: Workplace, limits: Limits, name: str) -> None:
    looking = call("shell", {"command": "sleep 0.2"})
    answers = [looking] * 12
    usage = Usage(model_calls=1, input_tokens=60, output_tokens=5)
    model = ScriptedModel([Completion(tool_calls=one.tool_calls, usage=usage) for one in answers])
    worked = await work(place, limits=limits, model=model)
    assert worked.outcome.gave_up
    assert name in worked.outcome.summary
    assert worked.of(LimitHit)[-1].limit == name
    assert len(model.requests) < 5


async def test_a_command_ends_with_the_time_of_the_attempt(place: Workplace) -> None:
    sleeping = call("shell", {"command": "sleep 60", "timeout_seconds": 600})
    worked = await work(place, sleeping, DONE, limits=Limits(attempt_seconds=0.5))
    assert worked.outcome.gave_up
    assert [event.limit for event in worked.of(LimitHit)] == ["command_seconds", "attempt_seconds"]


async def test_a_resumed_attempt_goes_on_with_the_same_conversation(place: Workplace) -> None:
    """Every prefix of the log is what a killed worker may leave."""
    whole = await work(place, call("read", {"path": "calc.py"}), FIX, DONE)
    log = list(whole.events)
    conversation = [message for message in whole.model.requests[-1].messages if message.role != "system"]
    expected = _roles(conversation)
    for cut in range(len(log) + 1):
        history = finished_history(log[:cut])
        ended = [event for event in history if isinstance(event, StepEnded)]
        left = [call("read", {"path": "calc.py"}), FIX, DONE][len(ended) :]
        workspace = place.workspace(f"resumed-{cut}")
        if ended and ended[-1].checkpoint is not None:
            await workspace.restore(ended[-1].checkpoint)
        place.sink.events.clear()
        worked = await work(place, *left, history=history, workspace=workspace)
        assert worked.outcome.summary == "Done.", f"cut at {cut}"
        assert worked.text("calc.py") == "def add(a, b):\n    return a + b\n"
        if left:
            request = [message for message in worked.model.requests[-1].messages if message.role != "system"]
            assert _roles(request) == expected, f"cut at {cut}"
        added = [event for event in worked.of(MessageAdded) if event.message.role == "system"]
        assert len(added) == (0 if ended else 1)
        assert worked.outcome.usage.model_calls == 3, "usage counts finished steps once"
        workspace.close()


def _roles(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]
