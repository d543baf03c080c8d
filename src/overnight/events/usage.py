"""What an attempt's model cost, step by step."""

from collections.abc import Iterable

import msgspec

from overnight.domain.events import Event, ModelCalled, StepStarted
from overnight.domain.task import Usage


class StepUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one step. What was asked ahead for a later step counts where it was asked."""

    step: int
    """0: before the first."""
    title: str = ""
    model: str = ""
    """Who answered last."""
    usage: Usage = Usage()
    failed: int = 0
    """Calls that ended in an error."""
    seconds: float = 0.0
    """Of all calls together; calls that overlap count each."""


def usage_by_step(events: Iterable[Event]) -> tuple[StepUsage, ...]:
    """Return the usage of every step that asked a model, those of lost workers included: they cost too."""
    found: dict[int, StepUsage] = {}
    step, title = 0, ""
    for event in events:
        if isinstance(event, StepStarted):
            step, title = event.step, event.title
        elif isinstance(event, ModelCalled):
            before = found.get(step) or StepUsage(step=step, title=title)
            answer = event.completion
            found[step] = msgspec.structs.replace(
                before,
                model=answer.model if answer is not None else before.model,
                usage=before.usage + answer.usage if answer is not None else before.usage,
                failed=before.failed + (answer is None),
                seconds=round(before.seconds + event.seconds, 4),
            )
    return tuple(found[number] for number in sorted(found))


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum, as of a task over its attempts."""
    return sum(usages, Usage())
