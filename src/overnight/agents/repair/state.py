"""What repair must know to go on after its worker was lost: small, and written as JSON with every step."""

import msgspec

from overnight.domain.errors import OvernightError


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An edit that stands: the file's text before it, so that it can be taken back alone."""

    path: str
    target: str
    before: str | None
    after: str
    farther: bool = False
    """Kept because tests got farther, not because one more passes."""


class State(msgspec.Struct, kw_only=True):
    """Where the search stands."""

    round: int = 0
    position: int = 0
    """Samples of the round already dealt with."""
    tried: list[str] = []
    """Digests of (target, edit) that were checked or refused."""
    kept: list[Kept] = []
    fallen_back: bool = False
    """Whether a `farther` edit was followed and given up again."""
    first_failed: int = -1
    seconds: float = 0.0
    """Time spent before the last finished step."""
    done: bool = False


def encode(state: State) -> str:
    """Return the state as JSON."""
    return msgspec.json.encode(state).decode()


def decode(text: str) -> State:
    """Return the state from a step's event; a fresh one where there is none.

    Raises:
        OvernightError: the text is no state of this agent.
    """
    if not text:
        return State()
    try:
        return msgspec.json.decode(text.encode(), type=State)
    except msgspec.DecodeError as error:
        raise OvernightError(
            "The attempt's last step was not written by this version of the repair agent.",
            "Start the task again.",
        ) from error
