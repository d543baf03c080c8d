"""Which place, view and temperature the next sample takes: pure arithmetic over a position."""

from collections.abc import Sequence

import msgspec

from overnight.agents.repair.views import View

ROUNDS = 5
"""After so many rounds without progress the agent is out of ideas."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request to make: the target's place in the ranking, and how to ask."""

    rank: int
    view: View
    temperature: float
    seed: int


_VIEWS: tuple[View, ...] = ("plain", "fresh", "values", "context", "terse", "reason")
_FIRST: dict[int, tuple[tuple[int, View, float], ...]] = {
    # A short first look, coldest first: the systematic edits that follow it cost no model time. Attempts
    # side by side share one model, so that the even ones leave it sooner and check in the meantime.
    1: ((0, "plain", 0.0), (1, "plain", 0.0), (0, "context", 0.2), (2, "plain", 0.0)),
    2: ((0, "plain", 0.5), (0, "values", 0.2)),
    3: ((0, "reason", 0.3), (1, "plain", 0.2), (0, "context", 0.4), (2, "plain", 0.4)),
    0: ((0, "terse", 0.2), (0, "plain", 0.8)),
}  # fmt: skip
_SHARES = (0, 0, 0, 1, 1, 2, 0, 1, 3, 2, 4, 5)
"""How later rounds share their samples over the places."""


def plan(number: int, places: int, round_number: int) -> list[Sample]:
    """Return one round's samples for attempt `number` over so many ranked places.

    Samples that share place and view stand together: the model's prompt cache then holds the whole prompt.
    """
    if places <= 0:
        return []
    chosen: list[tuple[int, View, float]] = []
    if round_number == 0:
        chosen.extend(item for item in _FIRST[number % 4] if item[0] < places)
    else:
        offset = number + round_number
        for index, rank in enumerate(_SHARES):
            if rank >= places + 2 * (round_number - 1):
                continue
            view = _VIEWS[(offset + rank + index // 4) % len(_VIEWS)]
            temperature = min(1.0, 0.5 + 0.12 * round_number + 0.06 * (index % 4))
            chosen.append((rank % places, view, round(temperature, 2)))
        chosen.sort(key=lambda item: (_SHARES.index(item[0]) if item[0] in _SHARES else 99, item[1]))
    return [
        Sample(rank=rank, view=view, temperature=t, seed=1000 * number + 100 * round_number + index)
        for index, (rank, view, t) in enumerate(chosen)
    ]


def places(scores: Sequence[float]) -> int:
    """Return how many of the ranked places are worth asking about: those not far below the best."""
    if not scores:
        return 0
    best = max(scores[0], 0.01)
    return max(1, min(8, sum(1 for s in scores if s >= 0.12 * best)))
