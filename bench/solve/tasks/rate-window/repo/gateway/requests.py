"""Answers requests, or refuses them."""

from gateway.limiter import Limiter


class Gateway:
    def __init__(self, handler, limit=3, seconds=10):
        self._handler = handler
        self._limiter = Limiter(limit, seconds)
        self.refused = 0

    def handle(self, client, request, now):
        """Return (status, body)."""
        if not self._limiter.allow(client, now):
            self.refused += 1
            return 429, "slow down"
        return 200, self._handler(request)
