"""The code map in the loop: the first prompt, its limits, and `search` for text and names."""

from pathlib import Path

import msgspec
import pytest

from overnight.agents.codemap.code_map import CodeMap
from overnight.agents.loop import Loop
from overnight.domain.conversation import Completion
from overnight.domain.events import CommandEnded, CommandStarted, Event, LimitHit
from overnight.domain.limits import Limits
from overnight.environments.ripgrep import RIPGREP, ripgrep_binds
from overnight.models.scripted import ScriptedModel
from overnight.worker.code import code_map
from tests.agents.codemap.test_code_map import FILES, mirror_of
from tests.agents.repair.workplace import Workplace
from tests.agents.test_loop import DONE, call
from tests.git.git_repo import Repo

pytestmark = pytest.mark.anyio


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path / "origin", dict(FILES))


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    folder = tmp_path / "place"
    folder.mkdir()
    return Workplace(folder, {**FILES, ".gitignore": "build/\n", "build/out.py": "total\n"})


async def worked(
    tmp_path: Path, repo: Repo, place: Workplace, *answers: Completion,
    limits: Limits | None = None, prompt: str = "`total` is wrong.", bare: bool = False,
) -> tuple[ScriptedModel, list[Event]]:  # fmt: skip
    """Let the loop work with a map, and return the model with what it was asked, and the events."""
    mirror, commit = await mirror_of(tmp_path / "mirrors", repo)
    code: CodeMap = code_map(tmp_path / "data", mirror, commit, limits or Limits())
    model = ScriptedModel([*answers, DONE])
    workspace = place.workspace(f"work-{len(place.sink.events)}")
    assignment = place.assignment(model, prompt, workspace=workspace, limits=limits)
    if bare:
        spec = msgspec.structs.replace(workspace.spec(), binds=())
        sandbox = place.open(spec)
        assignment = msgspec.structs.replace(assignment, sandbox=sandbox)
    await Loop().work(msgspec.structs.replace(assignment, code=code))
    return model, place.sink.events


def opening(model: ScriptedModel) -> str:
    return next(message.text for message in model.requests[0].messages if message.role == "user")


def told(model: ScriptedModel) -> str:
    return next(message.text for message in model.requests[-1].messages if message.role == "tool")


async def test_the_first_prompt_ends_with_the_map(tmp_path: Path, repo: Repo, place: Workplace) -> None:
    model, _ = await worked(tmp_path, repo, place)
    text = opening(model)
    assert "Map of the repository" in text
    assert "shop/price.py:\n    1  def total(cart)" in text
    again, _ = await worked(tmp_path, repo, place)
    assert opening(again) == text


async def test_the_map_can_be_left_out(tmp_path: Path, repo: Repo, place: Workplace) -> None:
    model, _ = await worked(tmp_path, repo, place, limits=Limits(map_tokens=1))
    assert "Map of the repository" not in opening(model)


async def test_what_a_limit_left_out_is_an_event(tmp_path: Path, repo: Repo, place: Workplace) -> None:
    _, events = await worked(tmp_path, repo, place, limits=Limits(map_files=2))
    (hit,) = [event for event in events if isinstance(event, LimitHit)]
    assert hit == LimitHit(limit="map_files", detail="1 files are not in the code map")


async def test_search_looks_a_name_up(tmp_path: Path, repo: Repo, place: Workplace) -> None:
    model, _ = await worked(tmp_path, repo, place, call("search", {"symbol": "total"}))
    assert told(model).splitlines() == [
        "definitions of total:",
        "shop/price.py:1:def total(cart)",
        "references, in 2 files:",
        "shop/cart.py:1:from shop.price import total",
        "shop/cart.py:6:return total(self)",
        "web/view.ts:1:export function show(): number { return total(1); }",
    ]
    model, _ = await worked(tmp_path, repo, place, call("search", {"symbol": "tota"}))
    assert "Names like it: total." in told(model)
    model, _ = await worked(tmp_path, repo, place, call("search", {"symbol": "total", "pattern": "x"}))
    assert "either" in told(model)


async def test_search_runs_ripgrep_inside(tmp_path: Path, repo: Repo, place: Workplace) -> None:
    assert ripgrep_binds(), "the wheel of ripgrep is not installed"
    model, events = await worked(tmp_path, repo, place, call("search", {"pattern": r"\btotal\("}))
    assert told(model).splitlines() == [
        "shop/cart.py:6:        return total(self)",
        "shop/price.py:1:def total(cart):",
        "web/view.ts:1:export function show(): number { return total(1); }",
    ]
    (command,) = [event for event in events if isinstance(event, CommandStarted)]
    assert command.command.startswith(RIPGREP)
    assert [event.exit_code for event in events if isinstance(event, CommandEnded)] == [0]


async def test_search_does_without_ripgrep(tmp_path: Path, repo: Repo, place: Workplace) -> None:
    asked = call("search", {"pattern": "def total", "path": "shop"})
    model, events = await worked(tmp_path, repo, place, asked, bare=True)
    assert told(model) == "shop/price.py:1:def total(cart):"
    assert [event.exit_code for event in events if isinstance(event, CommandEnded)] == [127, 0]
