"""Keeps every exchange with the model in the attempt's log, and opens models that answer from such a log."""

import asyncio
import time
from collections import deque

import msgspec

from overnight.domain.conversation import Completion, Message, Request
from overnight.domain.errors import ModelError
from overnight.domain.events import LimitHit, ModelCalled, ModelOpened
from overnight.domain.ports import EventSink
from overnight.domain.task import Attempt
from overnight.models.interface import Model, OnDelta, OnLimit, OnWaiting
from overnight.models.replayed import ReplayedModel
from overnight.tasks.recordings import REPLAY, Recordings
from overnight.worker.engine import Engine

BASES = 4
"""So many of the last requests are looked at for the longest common beginning."""


class RecordedModel:
    """Another model; each exchange with it becomes an event. Of one attempt and one worker."""

    def __init__(
        self, model: Model, events: EventSink, silence_seconds: float, *, number: int, seed: int
    ) -> None:
        self.name = model.name
        self.profile = model.profile
        self._model = model
        self._events = events
        self._silence = silence_seconds
        self._calls = 0
        self._bases: deque[tuple[int, Request]] = deque(maxlen=BASES)
        self.number = number
        self.seed = seed
        """What the attempt's agent gets, so that a replay of it asks for the same."""
        profile = msgspec.to_builtins(model.profile)
        events.emit(ModelOpened(name=model.name, profile=profile, number=number, seed=seed))

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Return the model's answer; raises what it raises.

        A call that nobody waited for to the end is not recorded: there is nothing to repeat.
        """
        request = msgspec.structs.replace(request, silence_seconds=self._silence)
        started = time.monotonic()
        first: float | None = None

        def heard(listener: OnDelta | None, text: str) -> None:
            nonlocal first
            first = time.monotonic() - started if first is None else first
            if listener is not None:
                listener(text)

        def limited(name: str, detail: str) -> None:
            self._events.emit(LimitHit(limit=name, detail=detail))

        try:
            completion = await self._model.complete(
                request,
                lambda text: heard(on_delta, text),
                on_waiting,
                lambda text: heard(on_reasoning, text),
                on_limit or limited,
            )
        except asyncio.CancelledError:
            raise
        except ModelError as error:
            self._keep(request, started, first, None, error)
            raise
        self._keep(request, started, first, completion, None)
        return completion

    async def close(self) -> None:
        """Leave the model open: it belongs to the process, not to the attempt."""

    def _keep(
        self,
        request: Request,
        started: float,
        first: float | None,
        completion: Completion | None,
        error: ModelError | None,
    ) -> None:
        base, keep, tools_of_base = 0, 0, None
        for call, earlier in self._bases:
            common = _common(earlier.messages, request.messages)
            if common >= keep:
                base, keep, tools_of_base = call, common, earlier.tools
        self._calls += 1
        self._bases.append((self._calls, request))
        self._events.emit(
            ModelCalled(
                call=self._calls,
                base=base,
                keep=keep,
                messages=request.messages[keep:],
                tools=None if base and tools_of_base == request.tools else request.tools,
                temperature=request.temperature,
                max_output_tokens=request.max_output_tokens,
                stop=request.stop,
                seed=request.seed,
                completion=completion,
                error=type(error).__name__ if error is not None else "",
                detail=error.message if error is not None else "",
                seconds=round(time.monotonic() - started, 4),
                first_seconds=round(first, 4) if first is not None else None,
            )
        )


def _common(one: tuple[Message, ...], other: tuple[Message, ...]) -> int:
    """Return how many messages at the beginning are the same."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a is not b and a != b:
            break
        count += 1
    return count


async def open_recorded(
    engine: Engine, attempt: Attempt, events: EventSink, silence_seconds: float
) -> RecordedModel:
    """Return the attempt's model, recorded; where that is a recording, with its number and its seed.

    Raises:
        UsageError: there is no such recording, or it cannot be read.
    """
    if attempt.model.startswith(REPLAY):
        recording = await Recordings(engine.database, engine.log).read(attempt.model)
        model: Model = ReplayedModel(attempt.model, recording)
        number, seed = recording.number, recording.seed
    else:
        model = engine.open_model(attempt.model)
        number, seed = attempt.number, int(attempt.id[:6], 16)
    return RecordedModel(model, events, silence_seconds, number=number, seed=seed)
