"""Notices that an agent goes round in circles: the same action with the same result, or the same failure."""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Sequence

from overnight.domain.conversation import ToolCall
from overnight.domain.events import Event, MessageAdded, StuckNoticed, ToolCallEnded, TurnStarted

REMEMBERED = 24
"""Actions that are looked back at: enough for a circle of several actions."""
EDITS = frozenset({"apply_patch", "edit", "write"})
"""After one of these that worked, the same command may well be worth another try."""
PATIENCE = {"process": 5}
"""So many times as often is fine: waiting for something is no circle."""
_NUMBER = re.compile(r"[0-9]+")
_BARE = re.compile(r"\s*\[exit code 0\]\s*")
"""A failure that says nothing, such as a search without a find; numbers are zeros here."""


class Stuck:
    """Remembers what was done last. First it is said, at as many repeats more it is over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._actions: deque[tuple[str, str]] = deque(maxlen=max(REMEMBERED, 6 * most))
        """The names of the tools with digests of call and result."""
        self._failures: deque[str] = deque(maxlen=most)
        self._told = False
        self._since = 0
        self.over = False
        """Whether it was told and went on all the same."""

    def saw(self, call: ToolCall, text: str, *, ok: bool) -> None:
        """Take an action and what came of it."""
        # Times and addresses differ where nothing else does.
        text = _NUMBER.sub("0", text)
        if ok and call.name in EDITS:
            edits = [action for action in self._actions if action[0] in EDITS]
            self._actions.clear()
            self._actions.extend(edits)
        self._actions.append((call.name, _digest(call.name, call.arguments, text)))
        if ok:
            self._failures.clear()
        elif not _BARE.fullmatch(text):
            self._failures.append(_digest(call.name, text))

    def notice(self, step: int) -> StuckNoticed | None:
        """Say after a step whether it goes round in circles; forgets what it said then."""
        self._since += 1
        what = self._what()
        if not what:
            if self._since > 4 * self._most:
                self._told = False
            return None
        self._actions.clear()
        self._failures.clear()
        self._since = 0
        self.over = self._told
        self._told = True
        return StuckNoticed(step=step, what=what, times=self._most)

    def _what(self) -> str:
        for action, times in Counter(self._actions).items():
            if times >= self._most * PATIENCE.get(action[0], 1):
                return f"the same call of {action[0]} with the same result"
        if len(self._failures) == self._most and len(set(self._failures)) == 1:
            return "the same failure"
        return ""


def from_history(history: Sequence[Event], most: int) -> Stuck:
    """Return what an agent that is taken up again would remember."""
    stuck = Stuck(most)
    calls: dict[str, ToolCall] = {}
    ok: dict[str, bool] = {}
    for event in history:
        match event:
            case TurnStarted():
                # What was done again on a person's word is no circle.
                stuck, calls = Stuck(most), {}
            case ToolCallEnded():
                ok[event.call_id] = event.ok
            case MessageAdded() if event.message.role == "assistant":
                if calls:
                    stuck.notice(event.step)
                calls = {call.id: call for call in event.message.tool_calls}
            case MessageAdded() if event.message.role == "tool":
                call = calls.get(event.message.tool_call_id or "")
                if call is not None:
                    stuck.saw(call, event.message.text, ok=ok.get(call.id, True))
            case _:
                pass
    if calls:
        stuck.notice(0)
    return stuck


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
