"""The conversation as the model gets it: it only grows, but for rare, big steps when the window fills up.

Everything before the last turn stays the same, byte for byte, from request to request: providers keep what
they have read of a prompt, and charge less for it.
"""

from collections.abc import Sequence

import msgspec

from overnight.domain.conversation import Message, ToolSpec
from overnight.domain.events import ContextCompacted
from overnight.domain.task import Usage

AGE_AT = 0.6
"""Share of the window at which older results are cut to their beginnings."""
SUM_UP_AT = 0.8
"""Share at which older messages give way to a summary."""
RECENT = 0.25
"""Share of the window that stays as it is, the newest messages."""
WORTH = 0.1
"""Share that cutting results must free: less is not worth losing what the provider keeps."""
SMALLER = 0.6
"""How much of what a model refused as too long is taken for its window."""
AGED_CHARACTERS = 200
"""What is left of a result, and twice that is left alone."""
_AGED = "\n[… {count} characters of an older result were left out; ask again if you need them]"
_UNSEEN = "[a picture that was shown here was left out]"
_CHARACTERS_PER_TOKEN = 3.5
"""To begin with; the model's own counts correct it."""
_IMAGE_TOKENS = 1500
_MESSAGE_TOKENS = 8
"""What a message costs beside its text."""
OPENING = 2
"""The messages that a conversation begins with, which always stay."""


class Context:
    """The messages, and an estimate of how many tokens they are."""

    def __init__(self, window: int, tools: Sequence[ToolSpec], messages: Sequence[Message] = ()) -> None:
        self.window = window
        self.messages: list[Message] = list(messages)
        self._overhead = sum(len(msgspec.json.encode(tool)) for tool in tools)
        self._known = 0
        self._known_at = 0
        self._ratio = _CHARACTERS_PER_TOKEN
        self._sized = self._sized_at = 0
        """Characters of so many messages from the first on."""

    def counted(self, usage: Usage) -> None:
        """Take the model's own count of all messages so far, its answer included."""
        tokens = usage.input_tokens + usage.output_tokens
        if tokens <= 0:
            return
        self._known, self._known_at = tokens, len(self.messages)
        self._sized += sum(_characters(message) for message in self.messages[self._sized_at :])
        self._sized_at = len(self.messages)
        characters = self._overhead + self._sized
        self._ratio = min(8.0, max(1.0, characters / tokens))

    def tokens(self) -> int:
        """Return about how many tokens the messages are."""
        newer = sum(self._estimate(message) for message in self.messages[self._known_at :])
        return self._known + newer + (0 if self._known else int(self._overhead / self._ratio))

    @property
    def filled(self) -> float:
        """How full the window is, as a share."""
        return self.tokens() / max(1, self.window)

    def recent_from(self) -> int:
        """Return where the newest messages begin that stay: at an answer, with all that follows it."""
        room = self.window * RECENT
        at = len(self.messages)
        for index in range(len(self.messages) - 1, OPENING - 1, -1):
            room -= self._estimate(self.messages[index])
            if room < 0:
                break
            if self.messages[index].role == "assistant":
                at = index
        return at

    def aging(self, step: int) -> ContextCompacted | None:
        """Return the step that cuts older results to their beginnings, None if that does not go far.

        What it frees must be worth losing what the provider keeps, and must last for a while.
        """
        until = self.recent_from()
        before = self.tokens()
        gain = sum(
            self._estimate(message) - self._estimate(aged(message))
            for message in self.messages[OPENING:until]
        )
        if gain < self.window * WORTH or before - gain > self.window * AGE_AT:
            return None
        return ContextCompacted(
            step=step, kind="aged", until=until, tokens_before=before, tokens_after=max(0, before - gain)
        )

    def summing_up(self, step: int, summary: str) -> ContextCompacted:
        """Return the step that puts `summary` in place of the older messages."""
        until = self.recent_from()
        gone = sum(self._estimate(message) for message in self.messages[OPENING:until])
        after = self.tokens() - gone + int(len(summary) / self._ratio)
        return ContextCompacted(
            step=step,
            kind="summed_up",
            until=until,
            summary=summary,
            tokens_before=self.tokens(),
            tokens_after=max(0, after),
        )

    def overflowed(self) -> None:
        """Take it that the window is smaller than what was sent."""
        self.window = min(self.window, int(self.tokens() * SMALLER))

    def compact(self, event: ContextCompacted) -> None:
        """Make the conversation shorter as `event` says."""
        self.messages = compacted(self.messages, event)
        self._known = self._known_at = self._sized = self._sized_at = 0

    def _estimate(self, message: Message) -> int:
        tokens = int(_characters(message) / self._ratio) + _MESSAGE_TOKENS
        return tokens + _IMAGE_TOKENS * len(message.images)


def compacted(messages: Sequence[Message], event: ContextCompacted) -> list[Message]:
    """Return the messages after a step that made them shorter: the same whenever it is done again."""
    until = min(event.until, len(messages))
    if event.kind == "aged":
        return [
            aged(message) if OPENING <= index < until else message for index, message in enumerate(messages)
        ]
    return [*messages[:OPENING], Message(role="user", text=event.summary), *messages[until:]]


def aged(message: Message) -> Message:
    """Return a tool's result cut to its beginning, and a picture's message without it."""
    change = msgspec.structs.replace
    if message.images:
        return change(message, text=f"{message.text}\n{_UNSEEN}".strip(), images=())
    if message.role != "tool" or len(message.text) <= 2 * AGED_CHARACTERS:
        return message
    left = message.text[:AGED_CHARACTERS]
    return change(message, text=left + _AGED.format(count=len(message.text) - len(left)))


def _characters(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    native = len(message.native.parts) if message.native is not None else 0
    return max(len(message.text) + calls, native)
