"""Plots of land with an owner."""

from dataclasses import dataclass

from survey.polygon import area, perimeter


@dataclass(frozen=True)
class Plot:
    owner: str
    corners: tuple

    @property
    def square_metres(self):
        return area(self.corners)

    def fence_cost(self, per_metre):
        return round(perimeter(self.corners) * per_metre, 2)


def owned(plots):
    """Return {owner: square metres}."""
    totals = {}
    for plot in plots:
        totals[plot.owner] = totals.get(plot.owner, 0) + plot.square_metres
    return totals
