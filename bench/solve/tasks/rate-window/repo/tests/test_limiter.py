from gateway.limiter import Limiter, SlidingWindow
from gateway.requests import Gateway


def test_limit_is_kept():
    window = SlidingWindow(3, 10)
    assert [window.allow(second) for second in (0, 1, 2, 3)] == [True, True, True, False]


def test_old_requests_are_forgotten():
    window = SlidingWindow(1, 10)
    assert window.allow(0)
    assert window.allow(10)


def test_wait():
    window = SlidingWindow(2, 10)
    window.allow(0)
    assert window.wait(1) == 0
    window.allow(4)
    assert window.wait(5) == 5


def test_clients_apart():
    limiter = Limiter(1, 10)
    assert limiter.allow("a", 0)
    assert limiter.allow("b", 0)
    assert limiter.clients() == ["a", "b"]


def test_gateway_refuses():
    gateway = Gateway(str.upper, limit=1)
    assert gateway.handle("a", "hi", 0) == (200, "HI")
    assert gateway.handle("a", "hi", 1) == (429, "slow down")
    assert gateway.refused == 1
