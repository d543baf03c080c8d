"""Who has a room, and when it is free."""

from rooms.slots import Slot


class Taken(Exception):
    """The room belongs to somebody else then."""


class Room:
    def __init__(self, name, opens="8:00", closes="18:00"):
        self.name = name
        self.open = Slot.of(opens, closes)
        self.bookings = {}

    def book(self, slot, who):
        if not self.open.contains(slot):
            raise ValueError(f"{self.name} is closed then")
        for other, holder in self.bookings.items():
            if slot.overlaps(other):
                raise Taken(f"{self.name} is taken by {holder} ({other})")
        self.bookings[slot] = who

    def cancel(self, slot):
        return self.bookings.pop(slot, None)

    def free_slots(self, least=30):
        """Return the gaps of at least so many minutes."""
        gaps = []
        at = self.open.start
        for slot in sorted(self.bookings):
            if slot.start - at >= least:
                gaps.append(Slot(at, slot.start))
            at = max(at, slot.end)
        if self.open.end - at >= least:
            gaps.append(Slot(at, self.open.end))
        return gaps
