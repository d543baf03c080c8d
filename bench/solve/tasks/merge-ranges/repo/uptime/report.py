"""Downtime and availability of a service."""

from uptime.ranges import clip, covered


def downtime(outages, low, high):
    """Return the seconds without service between low and high."""
    return covered(clip(outages, low, high))


def availability(outages, low, high):
    """Return the share of time with service, in percent with two digits."""
    length = high - low
    if length <= 0:
        return 100.0
    return round(100 * (length - downtime(outages, low, high)) / length, 2)
