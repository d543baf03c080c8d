"""An attempt's conversation as others read it: who said what when, by which call, and what came of it."""

from collections.abc import Iterable, Sequence

import msgspec

from overnight.domain.conversation import Completion, Message
from overnight.domain.events import (
    AttemptStarted,
    Event,
    MessageAdded,
    ModelCalled,
    ProposalChecked,
    ProposalMade,
    Recorded,
    StepEnded,
)
from overnight.domain.task import Usage


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an answer. `call_id` names the tool call; empty where the answer itself was acted on."""

    call_id: str = ""
    message: Message


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One message that is no result, and for an answer: its call of the model, and its results."""

    at: float
    step: int
    message: Message
    usage: Usage | None = None
    call: ModelCalled | None = None
    results: tuple[Result, ...] = ()


def conversation(events: Iterable[Recorded]) -> list[Said]:
    """Return what was said, without what a lost worker left of a step that was done again."""
    said: list[Said] = []
    calls: list[ModelCalled] = []
    for recorded in _settled(events):
        match recorded.event:
            case ModelCalled():
                calls.append(recorded.event)
            case MessageAdded() if recorded.event.message.role == "tool":
                _add(said, recorded.event.message)
            case MessageAdded():
                said.append(_said(recorded.at, recorded.event, calls))
            case ProposalMade() | ProposalChecked():
                _add(said, Message(role="tool", text=_words(recorded.event)))
            case _:
                pass
    return said


def _settled(events: Iterable[Recorded]) -> Sequence[Recorded]:
    kept: list[Recorded] = []
    pending: list[Recorded] = []
    for recorded in events:
        if isinstance(recorded.event, AttemptStarted):
            pending.clear()
        pending.append(recorded)
        if isinstance(recorded.event, StepEnded):
            kept += pending
            pending.clear()
    return [*kept, *pending]


def _said(at: float, event: MessageAdded, calls: list[ModelCalled]) -> Said:
    call = None
    if event.message.role == "assistant":
        call = next((one for one in calls if _made(one.completion, event.message)), None)
        if call is not None:
            calls.remove(call)
    return Said(at=at, step=event.step, message=event.message, usage=event.usage, call=call)


def _made(completion: Completion | None, message: Message) -> bool:
    return (
        completion is not None
        and completion.text == message.text
        and completion.tool_calls == message.tool_calls
    )


def _add(said: list[Said], message: Message) -> None:
    """Add a result to the answer that asked for it: the last one with such a call."""
    identifier = message.tool_call_id or ""
    for index in range(len(said) - 1, -1, -1):
        answer = said[index]
        if answer.message.role != "assistant":
            continue
        known = {call.id for call in answer.message.tool_calls}
        if not identifier or identifier in known:
            result = Result(call_id=identifier, message=message)
            said[index] = msgspec.structs.replace(answer, results=(*answer.results, result))
            return


def _words(event: Event) -> str:
    match event:
        case ProposalMade() if event.rejected:
            return f"{event.target} in {event.path}: rejected: {event.rejected}"
        case ProposalMade():
            return f"{event.target} in {event.path}: to be checked"
        case ProposalChecked():
            kept = "kept" if event.kept else "put back"
            return f"{event.target} in {event.path}: {event.passed} pass, {event.failed} fail: {kept}"
        case _:
            return ""
