import pytest

from uptime.ranges import checked, clip, merge
from uptime.report import availability, downtime


def test_merge_overlapping():
    assert merge([(5, 8), (1, 6)]) == [(1, 8)]


def test_merge_touching():
    assert merge([(1, 3), (3, 4)]) == [(1, 4)]


def test_merge_contained():
    assert merge([(10, 50), (20, 30)]) == [(10, 50)]


def test_downtime_counts_long_outage_fully():
    assert downtime([(10, 50), (20, 30), (60, 70)], 0, 100) == 50


def test_apart():
    assert merge([(8, 9), (1, 2)]) == [(1, 2), (8, 9)]


def test_clip():
    assert clip([(0, 5), (9, 20)], 3, 10) == [(3, 5), (9, 10)]


def test_availability():
    assert availability([(0, 25)], 0, 100) == 75.0


def test_backwards():
    with pytest.raises(ValueError):
        checked(5, 1)
