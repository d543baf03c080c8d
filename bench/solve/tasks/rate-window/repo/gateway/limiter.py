"""How many requests a client may send in a stretch of time."""

from collections import defaultdict, deque


class SlidingWindow:
    """At most `limit` requests in any `seconds`; refused ones do not count."""

    def __init__(self, limit, seconds):
        self.limit = limit
        self.seconds = seconds
        self._times = deque()

    def _forget(self, now):
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()

    def allow(self, now):
        """Count a request at a time, or refuse it."""
        self._forget(now)
        if len(self._times) > self.limit:
            return False
        self._times.append(now)
        return True

    def wait(self, now):
        """Return the seconds until a request would be allowed."""
        self._forget(now)
        if len(self._times) < self.limit:
            return 0
        return self._times[0] + self.seconds - now


class Limiter:
    """One window for each client."""

    def __init__(self, limit, seconds):
        self._windows = defaultdict(lambda: SlidingWindow(limit, seconds))

    def allow(self, client, now):
        return self._windows[client].allow(now)

    def clients(self):
        return sorted(self._windows)
