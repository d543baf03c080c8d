"""The conversation of a program as its requests show it: what is new in one, and what people said between."""

from collections.abc import Iterable, Sequence

import msgspec

from overnight.domain.conversation import Message
from overnight.domain.events import Event, MessageAdded

HANDOVER = "What was said and done so far:"
_MOST = 60_000
"""Characters of an earlier conversation that are handed over."""


class Said(msgspec.Struct, frozen=True):
    """What a person said while the program worked: it stands in every later request, at its place."""

    behind: int
    """How many messages of the program's own stand before it."""
    message: Message


class Conversation:
    """All that was recorded, and where in the program's own requests people's words belong."""

    def __init__(self, history: Iterable[Event]) -> None:
        self._recorded = [event for event in history if isinstance(event, MessageAdded)]
        self._own: tuple[Message, ...] = ()
        self._said: list[Said] = []
        self._resuming = False

    def native(self) -> None:
        """The program's next request goes on with its own session, which lacks what people said between."""
        self._own, self._said, self._resuming = (), [], True

    def fresh(self) -> None:
        """The program's next request begins a new session, which was told everything."""
        self._own, self._said, self._resuming = (), [], False

    def text(self) -> str:
        """Return what was said so far, from the last handover on; its end if it is long."""
        lines: list[str] = []
        for event in self._recorded:
            message = event.message
            if message.role == "system":
                continue
            if message.role == "user" and HANDOVER in message.text:
                lines = []
            if message.text:
                lines.append(f"[{message.role}] {message.text}")
            lines += [f"[action] {call.name} {call.arguments}" for call in message.tool_calls]
        return "\n".join(lines)[-_MOST:]

    def new_in(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return what of a request's messages was not there in the one before; they are now."""
        if self._resuming:
            self._resuming = False
            return self._taken_up(messages)
        pairs = zip(map(_key, self._own), map(_key, messages), strict=False)
        most = min(len(self._own), len(messages))
        common = next((place for place, (old, new) in enumerate(pairs) if old != new), most)
        # What was said behind messages that the program has dropped or rewritten comes at its end.
        self._said = [Said(min(said.behind, len(messages)), said.message) for said in self._said]
        self._own = tuple(messages)
        return messages[common:]

    def _taken_up(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Find what was recorded in the first request of a session taken up, which lacks people's words."""
        common = behind = 0
        same = True
        for event in self._recorded:
            if behind < len(messages) and _key(event.message) == _key(messages[behind]):
                behind += 1
                common = behind if same else common
            elif event.command_id:
                self._said.append(Said(min(behind, len(messages)), event.message))
            else:
                behind, same = behind + 1, False
        self._own = tuple(messages)
        return messages[common:]

    def recorded(self, event: MessageAdded) -> None:
        """Take in what was recorded."""
        self._recorded.append(event)

    def say(self, message: Message) -> None:
        """Put a person's words behind the program's last request."""
        self._said.append(Said(len(self._own), message))

    def answered(self, message: Message) -> None:
        """Take in the model's answer, which the program will repeat."""
        self._own += (message,)

    def with_said(self) -> tuple[Message, ...]:
        """Return the program's last request with people's words in their places."""
        messages = list(self._own)
        for said in reversed(self._said):
            messages.insert(said.behind, said.message)
        return tuple(messages)


def _key(message: Message) -> tuple[str, str, tuple[str, ...], str]:
    """Return what of a message must be the same when a program repeats it."""
    calls = tuple(call.id for call in message.tool_calls)
    return message.role, message.text.strip(), calls, message.tool_call_id or ""
