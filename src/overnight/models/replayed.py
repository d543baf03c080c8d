"""A model that answers from a recording: the same request gets the same answer, any other is an error."""

import asyncio
import hashlib
import re
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

import msgspec

from overnight.domain import errors
from overnight.domain.conversation import Completion, Message, Request
from overnight.domain.errors import ModelError, ReplayError, UsageError
from overnight.domain.exchange import Exchange, Recording
from overnight.models.interface import ModelProfile, OnDelta, OnLimit, OnWaiting

_SHOWN = 160
"""Characters of a difference that are shown of each side."""
_VOLATILE = (
    # What differs from run to run though nothing happened otherwise: durations, times of day, dates,
    # addresses in memory, names of temporary files, and process ids where they are called so.
    (re.compile(r"\b\d+(\.\d+)?(e-?\d+)?\s?(s|ms|us|µs|ns|sec|secs|seconds|milliseconds|m|min)\b"), "<time>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?"), "<date>"),
    (re.compile(r"\b\d\d:\d\d(:\d\d)?([.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b0x[0-9a-fA-F]{4,}\b"), "<address>"),
    (re.compile(r"/tmp/[\w.+-]+"), "<temporary>"),  # noqa: S108
    (re.compile(r"\b(pid|PID|process)([ =:]+)\d+"), r"\1\2<pid>"),
)


class ReplayedModel:
    """Answers from a recording. Of one attempt: each recorded answer is given once.

    Requests are the same when they differ in nothing but durations, times, dates, addresses, temporary names
    and process ids in the results of tools and in what the agent says of commands.
    """

    def __init__(self, name: str, recording: Recording) -> None:
        self.name = name
        self.profile = _profile(recording)
        self._recording = recording
        self._digests: dict[int, tuple[Message, bytes]] = {}
        self._left: dict[bytes, deque[int]] = defaultdict(deque)
        for index, exchange in enumerate(recording.exchanges):
            self._left[self._key(exchange.request)].append(index)
        self._used: set[int] = set()

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Return the recorded answer to `request`, or raise the recorded error.

        Raises:
            ReplayError: nothing was recorded for this request; says where it differs from what was.
            ModelError: so it was recorded.
        """
        del on_waiting, on_limit
        await asyncio.sleep(0)
        waiting = self._left[self._key(request)]
        if not waiting:
            raise self._diverged(request)
        index = waiting.popleft()
        self._used.add(index)
        exchange = self._recording.exchanges[index]
        completion = exchange.completion
        if completion is None:
            kind = getattr(errors, exchange.error, ModelError)
            known = isinstance(kind, type) and issubclass(kind, ModelError)
            raise (kind if known else ModelError)(exchange.detail, "So it was when it was recorded.")
        if on_reasoning is not None and completion.reasoning:
            on_reasoning(completion.reasoning)
        if on_delta is not None and completion.text:
            on_delta(completion.text)
        return completion

    async def close(self) -> None:
        """Nothing to give back."""

    def _key(self, request: Request) -> bytes:
        found = hashlib.sha256(_settings(request))
        for message in request.messages:
            found.update(self._digest(message))
        return found.digest()

    def _digest(self, message: Message) -> bytes:
        # A conversation repeats its messages in every request; each one is read once.
        known = self._digests.get(id(message))
        if known is None:
            known = (message, hashlib.sha256(msgspec.json.encode(_steady(message))).digest())
            self._digests[id(message)] = known
        return known[1]

    def _diverged(self, request: Request) -> ReplayError:
        name = self._recording.attempt[:12]
        left = [i for i in range(len(self._recording.exchanges)) if i not in self._used]
        if not left:
            return ReplayError(
                f"The replay of {name} asks for more than was recorded ({len(self._used)} answers).", _HINT
            )
        index = max(left, key=lambda i: (self._common(self._recording.exchanges[i], request), -i))
        exchange = self._recording.exchanges[index]
        return ReplayError(
            f"The replay of {name} diverges at step {exchange.step}, call {index + 1}: "
            f"{_difference(exchange.request, request)}.",
            _HINT,
        )

    def _common(self, exchange: Exchange, request: Request) -> int:
        count = 0
        for recorded, asked in zip(exchange.request.messages, request.messages, strict=False):
            if self._digest(recorded) != self._digest(asked):
                break
            count += 1
        return 2 * count + (exchange.request.seed == request.seed)


_HINT = (
    "A replay needs the same task, commit, checks, limits, environment and version of Overnight as its "
    "recording."
)


def steady(text: str) -> str:
    """Return `text` with a mark in place of what differs from run to run by itself."""
    for pattern, mark in _VOLATILE:
        text = pattern.sub(mark, text)
    return text


def _steady(message: Message) -> Message:
    if message.role in ("assistant", "system"):
        return message
    return msgspec.structs.replace(message, text=steady(message.text))


def _settings(request: Request) -> bytes:
    tools = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
    return msgspec.json.encode(
        [tools, request.temperature, request.max_output_tokens, request.stop, request.seed], order="sorted"
    )


def _difference(recorded: Request, asked: Request) -> str:
    """Return the first difference of two requests in words."""
    for number, (old, new) in enumerate(zip(recorded.messages, asked.messages, strict=False), 1):
        if _steady(old) == _steady(new):
            continue
        if old.role != new.role:
            return f"message {number} is of {new.role}, was of {old.role}"
        if steady(old.text) != steady(new.text):
            return f"message {number} ({new.role}), {_place(steady(old.text), steady(new.text))}"
        return f"message {number} ({new.role}) differs in its tool calls, images or native form"
    counts = len(recorded.messages), len(asked.messages)
    if counts[0] != counts[1]:
        return f"there are {counts[1]} messages, there were {counts[0]}"
    for field in ("temperature", "max_output_tokens", "stop", "seed"):
        old, new = getattr(recorded, field), getattr(asked, field)
        if old != new:
            return f"{field} is {new!r}, was {old!r}"
    names = [[tool.name for tool in request.tools] for request in (recorded, asked)]
    if names[0] != names[1]:
        return f"the tools are {', '.join(names[1])}; they were {', '.join(names[0])}"
    changed = [new.name for old, new in zip(recorded.tools, asked.tools, strict=True) if old != new]
    if changed:
        return f"the tool {changed[0]} is described in another way"
    return "nothing: this answer was given already"


def _place(old: str, new: str) -> str:
    old_lines, new_lines = [*old.splitlines(), ""], [*new.splitlines(), ""]
    pairs = enumerate(zip(old_lines, new_lines, strict=False), 1)
    line, (was, now) = next(((n, pair) for n, pair in pairs if pair[0] != pair[1]), (1, (old, new)))
    return f"line {line}: {now[:_SHOWN]!r}, was {was[:_SHOWN]!r}"


def _profile(recording: Recording) -> ModelProfile:
    fields: Mapping[str, Any] = {"name": recording.model, **recording.profile}
    try:
        return msgspec.convert(fields, ModelProfile)
    except msgspec.ValidationError as error:
        raise UsageError(f"The recording of {recording.attempt[:12]} cannot be read: {error}.") from error
