"""Later turns: same files and conversation, a commit more on the same branch, the base moved by a merge."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from overnight.domain.errors import ConflictError, UsageError
from overnight.domain.events import PullRequestOpened, PullRequestUpdated, StepEnded, TurnStarted
from overnight.environments import checkpoints
from overnight.git.run import run_git
from overnight.store import pull_requests
from overnight.tasks.views import TaskView
from overnight.tasks.words import follow_up
from tests.house import BUGGY, House, git
from tests.worker.listening import Listener, Place, place

pytestmark = pytest.mark.anyio

MINE = "put calc.py def add(a, b): return b + a"


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def here(
    house: House, buggy: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> AsyncGenerator[Place]:
    async with place(house, buggy, monkeypatch, {"listener": listener}) as opened:
        yield opened


async def say(here: Place, shown: TaskView, text: str, base: str = "") -> TaskView:
    """Begin another turn of the task's attempt and carry it out."""
    await follow_up(here.application.database, shown.attempts[0].id, text, here.now, base)
    return await here.run(shown.task)


async def history(here: Place, shown: TaskView) -> list[str]:
    """Return the subjects of the commits on the attempt's branch, the newest first, those of the base too."""
    patch = shown.attempts[0].patch
    assert patch is not None
    mirror = await here.application.repositories.mirror_of(shown.task)
    answer = await run_git("log", "--first-parent", "--format=%s", patch.branch, git_dir=mirror.path)
    return answer.text.splitlines()


async def test_a_follow_up_adds_a_commit_to_the_pull_request(here: Place, listener: Listener) -> None:
    task, attempt = await here.submit("told once", verify=True)
    first = await here.run(task)
    request = first.pull_request
    assert request is not None
    before = first.attempts[0]
    assert before.patch is not None

    second = await say(here, first, "told twice")
    assert listener.seen == [[], ["told once"]]
    assert await here.patched(attempt.id, "said.txt") == "told once\ntold twice\n"
    assert await history(here, second) == ["told twice", "told once", "start"]
    moved = second.pull_request
    assert moved is not None
    after = second.attempts[0]
    assert after.patch is not None
    assert (moved.number, moved.head_commit) == (request.number, after.patch.commit)
    assert "told twice" in moved.body
    assert (after.turn, after.prompt, after.patch.branch) == (2, "told twice", before.patch.branch)
    turns = second.turns[attempt.id]
    assert [turn.patch and turn.patch.commit for turn in turns] == [before.patch.commit, after.patch.commit]
    assert turns[0].verdict == before.verdict, "what has ended never changes"
    log = await here.log(attempt.id)
    assert [type(one) for one in log if isinstance(one, PullRequestOpened | PullRequestUpdated)] == [
        PullRequestOpened,
        PullRequestUpdated,
    ]
    assert await here.steps(attempt.id) == [1, 2]
    assert listener.steps_left == [task.limits.steps] * 2, "a turn has a budget of its own"
    mirror = await here.application.repositories.mirror_of(task)
    refs = await run_git("for-each-ref", "--format=%(refname)", "refs/heads", git_dir=mirror.path)
    assert refs.text.splitlines() == [f"refs/heads/{after.patch.branch}"]

    merged = await here.application.results.merge(moved)
    assert merged.state == "merged"
    with pytest.raises(ConflictError, match="is merged"):
        await say(here, second, "more")


async def test_a_turn_that_changes_nothing_adds_no_commit(here: Place, listener: Listener) -> None:
    task, attempt = await here.submit("told once", verify=True)
    first = await here.run(task)
    database = here.application.database
    mine = await here.patched(attempt.id, "said.txt")
    second = await say(here, first, "put said.txt told once")
    assert await here.patched(attempt.id, "said.txt") == mine
    assert await history(here, second) == ["told once", "start"]
    assert second.pull_request == first.pull_request
    assert await database.read(lambda c: len(pull_requests.listing(c))) == 1


async def test_an_unverified_turn_shows_in_the_pull_request(here: Place) -> None:
    task, _ = await here.submit("told once", verify=True)
    first = await here.run(task)
    second = await say(here, first, "put said.txt nothing")
    assert second.attempts[0].verdict is not None
    assert not second.attempts[0].verdict.verified
    assert second.pull_request is not None
    assert second.attempts[0].patch is not None
    assert second.pull_request.head_commit == second.attempts[0].patch.commit
    assert "**Verified**" not in second.pull_request.body


async def move_base(here: Place, text: str) -> str:
    """Commit another `calc.py` to the person's repository, fetch it, return the commit."""
    (here.repository / "calc.py").write_text(text)
    (here.repository / "NEWS").write_text("Moved.\n")
    git(here.repository, "add", "-A")
    git(here.repository, "commit", "-qm", "move")
    repository = str(here.repository)
    return (await here.application.repositories.admit(repository, None, here.repository)).base_commit


async def test_the_base_moves_on_by_a_merge(here: Place) -> None:
    task, attempt = await here.submit("told once", verify=True)
    first = await here.run(task)
    base = await move_base(here, "# A comment.\n" + BUGGY["calc.py"])
    second = await say(here, first, "told twice", base)
    assert await here.patched(attempt.id, "said.txt") == "told once\ntold twice\n"
    assert await here.patched(attempt.id, "NEWS") == "Moved.\n"
    patch = second.attempts[0].patch
    assert patch is not None
    assert patch.files == ("said.txt",), "what the base brought is no part of the patch"
    assert await history(here, second) == ["told twice", "told once", "start"], "the branch is not forced"
    mirror = await here.application.repositories.mirror_of(task)
    parents = (await run_git("log", "-1", "--format=%P", patch.commit, git_dir=mirror.path)).text.split()
    before = first.attempts[0].patch
    assert before is not None
    assert parents == [before.commit, base]
    assert second.pull_request is not None
    assert second.pull_request.base_commit == base
    merged = await here.application.results.merge(second.pull_request)
    assert merged.state == "merged"


async def test_conflicts_with_the_base_are_shown_to_the_agent(here: Place, listener: Listener) -> None:
    task, attempt = await here.submit(MINE)
    first = await here.run(task)
    base = await move_base(here, "def add(a, b): return sum((a, b))\n")
    await say(here, first, "told of it", base)
    log = await here.log(attempt.id)
    (begun,) = [event for event in log if isinstance(event, TurnStarted)]
    assert (begun.base_commit, begun.conflicts) == (base, ("calc.py",))
    assert begun.checkpoint is not None
    blobs = here.application.blobs
    files = checkpoints.contents(blobs, checkpoints.load(blobs, begun.checkpoint).files)
    (calc,) = [change for change in files if change.path == "calc.py"]
    text = (calc.content or b"").decode()
    assert f"<<<<<<< the base at {base[:12]}" in text
    assert ">>>>>>> your changes" in text
    assert "return b + a" in text
    assert "sum((a, b))" in text
    last = [event for event in log if isinstance(event, StepEnded)][-1]
    assert last.step == 2
    listener.seen.clear()
    await say(here, await here.run(task), "told more")
    assert "calc.py" in listener.seen[0][-1], "its message names the files"


async def test_what_cannot_be_followed_up(here: Place) -> None:
    task, attempt = await here.submit("limit")
    await here.run(task)
    database = here.application.database
    with pytest.raises(ConflictError, match="has not ended"):
        await follow_up(database, attempt.id, "more", here.now)
    with pytest.raises(UsageError, match="Nothing was said"):
        await follow_up(database, attempt.id, "  ", here.now)
