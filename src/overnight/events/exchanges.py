"""The exchanges with the model, rebuilt from an attempt's events."""

from collections.abc import Iterable

from overnight.domain.conversation import Message, Request, ToolSpec
from overnight.domain.events import AttemptStarted, Event, ModelCalled, ModelOpened, StepEnded, StepStarted
from overnight.domain.exchange import Exchange


def exchanges(events: Iterable[Event]) -> tuple[Exchange, ...]:
    """Return the exchanges in the order of their answers.

    What a lost worker asked in a step that it did not finish was asked again, and perhaps answered in another
    way: those come last.
    """
    kept: list[Exchange] = []
    lost: list[Exchange] = []
    pending: list[Exchange] = []
    requests: dict[int, Request] = {}
    step = 0
    for event in events:
        match event:
            case AttemptStarted():
                lost += pending
                pending = []
                requests = {}
            case StepStarted():
                step = event.step
            case StepEnded():
                kept += pending
                pending = []
            case ModelCalled():
                request = _request(event, requests.get(event.base))
                requests[event.call] = request
                pending.append(
                    Exchange(
                        step=step,
                        request=request,
                        completion=event.completion,
                        error=event.error,
                        detail=event.detail,
                    )
                )
            case _:
                pass
    return (*kept, *pending, *lost)


def last_opened(events: Iterable[Event]) -> ModelOpened | None:
    """Return what the log last said of the model; None where it says nothing."""
    return next((event for event in reversed([*events]) if isinstance(event, ModelOpened)), None)


def _request(event: ModelCalled, base: Request | None) -> Request:
    common: tuple[Message, ...] = base.messages[: event.keep] if base is not None else ()
    tools: tuple[ToolSpec, ...] = base.tools if base is not None else ()
    return Request(
        messages=common + event.messages,
        tools=tools if event.tools is None else event.tools,
        temperature=event.temperature,
        max_output_tokens=event.max_output_tokens,
        stop=event.stop,
        seed=event.seed,
    )
