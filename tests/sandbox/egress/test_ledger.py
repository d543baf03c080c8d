"""The limits that are for all flows of a sandbox together."""

import pytest

from overnight.domain.events import Event, LimitHit
from overnight.domain.limits import Limits
from overnight.sandbox.egress.ledger import Ledger

pytestmark = pytest.mark.anyio


async def test_questions_over_one_connection_keep_to_the_rate() -> None:
    events: list[Event] = []
    ledger = Ledger(Limits(egress_rate=1), events.append)
    waits = [ledger.turn() for _ in range(1000)]
    assert waits[0] == 0.0
    assert waits[-1] > 500
    assert [event.limit for event in events if isinstance(event, LimitHit)] == ["egress_rate"]
