"""Flat polygons, given by their corners in order."""

import math


def edges(corners):
    """Return the edges as pairs of corners, the closing one included."""
    return [(corners[i], corners[(i + 1) % len(corners)]) for i in range(len(corners))]


def perimeter(corners):
    return sum(math.dist(a, b) for a, b in edges(corners))


def area(corners):
    """Return the area, never negative."""
    twice = 0
    for i in range(len(corners) - 1):
        x1, y1 = corners[i]
        x2, y2 = corners[i + 1]
        twice += x1 * y2 - x2 * y1
    return abs(twice) / 2


def bounds(corners):
    """Return (left, bottom, right, top)."""
    xs = [x for x, _ in corners]
    ys = [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def moved(corners, dx, dy):
    return [(x + dx, y + dy) for x, y in corners]


def contains(corners, point):
    """Whether a point lies inside (even-odd rule)."""
    px, py = point
    inside = False
    for (x1, y1), (x2, y2) in edges(corners):
        if (y1 > py) != (y2 > py) and px < (x2 - x1) * (py - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside
