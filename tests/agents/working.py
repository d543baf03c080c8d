"""Runs the loop over a script and shows what came of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from overnight.agents.interface import Outcome
from overnight.agents.loop import Loop
from overnight.domain.commands import Arrival
from overnight.domain.conversation import Completion, ToolCall
from overnight.domain.events import Event
from overnight.domain.ids import new_id
from overnight.domain.limits import Limits
from overnight.domain.ports import Inbox
from overnight.environments.interface import Workspace
from overnight.models.interface import Model
from overnight.models.scripted import PROFILE, ScriptedModel
from tests.agents.repair.workplace import Workplace

DONE = Completion(text="Done.")


def call(name: str, arguments: Mapping[str, Any] | str, identifier: str = "c1") -> Completion:
    """Return an answer with one tool call."""
    return calls((name, arguments), first=identifier)


def calls(*wanted: tuple[str, Mapping[str, Any] | str], first: str = "c1") -> Completion:
    """Return an answer with several tool calls."""
    made = tuple(
        ToolCall(
            id=first if number == 0 else f"{first}-{number}",
            name=name,
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
        )
        for number, (name, arguments) in enumerate(wanted)
    )
    return Completion(tool_calls=made)


def edit(*lines: str) -> Completion:
    """Return an answer with a patch."""
    return call("apply_patch", {"patch": "\n".join(("*** Begin Patch", *lines, "*** End Patch"))})


class Letters:
    """An inbox; `after` says how often it is looked into before a letter is there."""

    def __init__(self, *letters: Arrival, after: int = 0) -> None:
        self._letters = list(letters)
        self._after = after

    async def arrived(self) -> tuple[Arrival, ...]:
        """Return all letters at once, once."""
        if self._after > 0:
            self._after -= 1
            return ()
        found, self._letters = tuple(self._letters), []
        return found


class Worked:
    """How a script ended, what the model was told, and the workspace it left."""

    def __init__(
        self, events: list[Event], model: ScriptedModel, workspace: Workspace, outcome: Outcome
    ) -> None:
        self.events, self.model, self.workspace, self.outcome = events, model, workspace, outcome

    @property
    def told(self) -> str:
        """The last result that the model got."""
        return next(item.text for item in reversed(self.model.requests[-1].messages) if item.role == "tool")

    @property
    def results(self) -> list[str]:
        """All results that the last request holds."""
        return [item.text for item in self.model.requests[-1].messages if item.role == "tool"]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def text(self, path: str) -> str | None:
        """Return a file's text."""
        content = self.workspace.read(path)
        return None if content is None else content.decode()


def scripted(*answers: Completion, **profile: Any) -> ScriptedModel:
    """Return a model with another profile."""
    return ScriptedModel([*answers], profile=msgspec.structs.replace(PROFILE, **profile))


async def work(
    place: Workplace,
    *answers: Completion,
    limits: Limits | None = None,
    history: Sequence[Event] = (),
    workspace: Workspace | None = None,
    model: Model | None = None,
    inbox: Inbox | None = None,
) -> Worked:
    """Let the loop work, on a fresh workspace unless one is given."""
    model = model or ScriptedModel([*answers])
    workspace = workspace or place.workspace(new_id())
    assignment = place.assignment(model, workspace=workspace, limits=limits, history=history, inbox=inbox)
    begin = len(place.sink.events)
    outcome = await Loop().work(assignment)
    assert isinstance(model, ScriptedModel)
    return Worked(place.sink.events[begin:] if history else place.sink.events, model, workspace, outcome)
