"""What was asked for, as events: one for each flow, like ones counted together, and bounded in number."""

import asyncio
from collections.abc import Callable

import msgspec

from overnight.domain.events import Event, LimitHit, NetworkAllowed, NetworkBlocked
from overnight.domain.task import Limits
from overnight.sandbox.egress.refusal import LimitReached

_AGAIN_SECONDS = 5.0
"""How long like flows are counted before they become one event more."""
_MAX_EVENTS = 1000
"""Events of one sandbox; beyond them flows are counted without their hosts."""
_MAX_TEXT = 260
_HURRY_SECONDS = 1.0
"""A question that has to wait longer for its turn is one of too many."""
OTHERS = "(others)"


class _Key(msgspec.Struct, frozen=True):
    host: str
    port: int
    method: str
    reason: str
    command: str


class _Count(msgspec.Struct):
    flows: int = 0
    up: int = 0
    down: int = 0


class Ledger:
    """Counts flows and keeps the limits that are for all of a sandbox's flows together."""

    def __init__(self, limits: Limits, emit: Callable[[Event], None]) -> None:
        self._limits = limits
        self._emit = emit
        self._seen: set[_Key] = set()
        self._counted: dict[_Key, _Count] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._hit: set[str] = set()
        self._requests = 0
        self._up = 0
        self._turn = 0.0
        self.command = ""
        """The command that runs now."""

    def request(self) -> None:
        """Count a connection or request.

        Raises:
            LimitReached: there were too many.
        """
        self._requests += 1
        if self._requests > self._limits.egress_requests:
            raise self.hit("egress_requests", f"{self._limits.egress_requests} requests")

    def turn(self) -> float:
        """Return how many seconds a question must wait so that all of them together keep to the rate."""
        now = asyncio.get_running_loop().time()
        wait = max(0.0, self._turn - now)
        self._turn = now + wait + 1 / self._limits.egress_rate
        if wait > _HURRY_SECONDS:
            self.hit("egress_rate", f"more than {self._limits.egress_rate} questions a second")
        return wait

    def up(self, size: int) -> None:
        """Count bytes on their way out, before they go.

        Raises:
            LimitReached: there would be too many.
        """
        self._up += size
        if self._up > self._limits.egress_bytes_up:
            raise self.hit("egress_bytes_up", f"{self._limits.egress_bytes_up} bytes sent")

    def hit(self, limit: str, detail: str) -> LimitReached:
        """Record that a limit was reached, once, and return the refusal to raise."""
        if limit not in self._hit:
            self._hit.add(limit)
            self._emit(LimitHit(limit=limit, detail=detail))
        return LimitReached(limit)

    def allowed(self, host: str, port: int, method: str, up: int, down: int, command: str) -> None:
        """Record a flow that was let through and has ended."""
        self._count(_Key(host, port, method, "", command), up, down)

    def blocked(self, host: str, port: int, method: str, reason: str, command: str) -> None:
        """Record what was asked for and refused; `host` may be anything that a program sent."""
        self._count(_Key(_shown(host), port, _shown(method), reason, command), 0, 0)

    def _count(self, key: _Key, up: int, down: int) -> None:
        if key not in self._seen and len(self._seen) >= _MAX_EVENTS:
            key = _Key(OTHERS, 0, "", key.reason and "too many to list", "")
        first = key not in self._seen
        self._seen.add(key)
        if first:
            self._say(key, _Count(1, up, down))
            return
        count = self._counted.setdefault(key, _Count())
        count.flows += 1
        count.up += up
        count.down += down
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self.flush)

    def flush(self) -> None:
        """Say what was only counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted, self._counted = self._counted, {}
        for key, count in counted.items():
            self._say(key, count)

    def _say(self, key: _Key, count: _Count) -> None:
        event: Event
        if key.reason:
            event = NetworkBlocked(
                host=key.host, port=key.port, method=key.method, reason=key.reason, command=key.command,
                flows=count.flows,
            )  # fmt: skip
        else:
            event = NetworkAllowed(
                host=key.host, port=key.port, method=key.method, command=key.command, flows=count.flows,
                bytes_up=count.up, bytes_down=count.down,
            )  # fmt: skip
        self._emit(event)


def _shown(text: str) -> str:
    """Return what a program sent, as it can be shown: without anything that a terminal or a page obeys."""
    plain = "".join(c if c.isascii() and c.isprintable() else f"\\x{ord(c):02x}" for c in text[:_MAX_TEXT])
    return plain if len(text) <= _MAX_TEXT else f"{plain}..."
