"""How long to wait before trying again, and whether to."""


class GiveUp(Exception):
    """All tries are used up."""


class Backoff:
    """Pauses that double from `first_seconds` up to `max_seconds`."""

    def __init__(self, first_seconds=1, max_seconds=60, tries=5):
        self.first_seconds = first_seconds
        self.max_seconds = max_seconds
        self.tries = tries

    def pause(self, failures):
        """Return the seconds to wait after so many failures; the first one counts 1."""
        if failures < 1:
            return 0
        return min(self.first_seconds * 2 ** (failures - 1), self.max_seconds)

    def pauses(self):
        return [self.pause(failures) for failures in range(1, self.tries)]


def call_with_retry(function, backoff, sleep, errors=(OSError,)):
    """Call until it works; raises GiveUp from the last error."""
    for failures in range(1, backoff.tries + 1):
        try:
            return function()
        except errors as error:
            if failures == backoff.tries:
                raise GiveUp(f"failed {failures} times") from error
            sleep(backoff.pause(failures))
    raise GiveUp("no tries at all")
