"""Why a flow ends before its time: the policy, the limits, or the other side."""


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """The policy does not allow it; `reason` is for the log, the pull request and the program that asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LimitReached(Refused):
    """A named limit of the sandbox does not allow it."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"limit {limit}")
        self.limit = limit


class Unreachable(Exception):  # noqa: N818
    """The policy allows it, but the host does not answer."""
