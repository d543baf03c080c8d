from survey.plots import Plot, owned
from survey.polygon import area, bounds, contains, moved, perimeter

SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]


def test_square_at_origin():
    assert area(SQUARE) == 16


def test_moved_square_keeps_its_area():
    assert area(moved(SQUARE, 10, 3)) == 16


def test_triangle():
    assert area([(1, 1), (5, 1), (1, 4)]) == 6


def test_perimeter():
    assert perimeter(SQUARE) == 16


def test_bounds():
    assert bounds(moved(SQUARE, 1, 2)) == (1, 2, 5, 6)


def test_contains():
    assert contains(SQUARE, (1, 1))
    assert not contains(SQUARE, (5, 1))


def test_fence():
    assert Plot("Ann", tuple(SQUARE)).fence_cost(2.5) == 40


def test_owned():
    plots = [Plot("Ann", tuple(SQUARE)), Plot("Ann", ((0, 0), (2, 0), (0, 2)))]
    assert owned(plots) == {"Ann": 18}
