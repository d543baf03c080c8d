import pytest

from rooms.bookings import Room, Taken
from rooms.slots import Slot, clock, minutes


def test_clock_there_and_back():
    assert clock(minutes("9:05")) == "9:05"


def test_overlap_is_refused():
    room = Room("Oak")
    room.book(Slot.of("9:00", "10:00"), "Ann")
    with pytest.raises(Taken):
        room.book(Slot.of("9:30", "10:30"), "Bob")


def test_touching_is_allowed():
    room = Room("Oak")
    room.book(Slot.of("9:00", "10:00"), "Ann")
    room.book(Slot.of("10:00", "11:00"), "Bob")
    room.book(Slot.of("8:00", "9:00"), "Cy")
    assert len(room.bookings) == 3


def test_inner_slot_is_refused():
    room = Room("Oak")
    room.book(Slot.of("9:00", "12:00"), "Ann")
    with pytest.raises(Taken):
        room.book(Slot.of("10:00", "11:00"), "Bob")


def test_free_slots():
    room = Room("Oak")
    room.book(Slot.of("9:00", "10:00"), "Ann")
    room.book(Slot.of("10:15", "17:00"), "Bob")
    assert [str(slot) for slot in room.free_slots()] == ["8:00-9:00", "17:00-18:00"]


def test_closed():
    with pytest.raises(ValueError):
        Room("Oak").book(Slot.of("7:00", "9:00"), "Ann")
