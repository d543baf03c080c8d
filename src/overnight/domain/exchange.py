"""What was asked of a model and what it answered, as a list that can be gone through again without it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from overnight.domain.conversation import Completion, Request


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a model. There is a completion or the kind of an error."""

    step: int
    """In which it was asked; 0 before the first."""
    request: Request
    completion: Completion | None = None
    error: str = ""
    detail: str = ""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """Every exchange of an attempt, and what else its agent's requests depend on."""

    attempt: str
    agent: str
    model: str
    number: int
    """The attempt's number within its task."""
    seed: int
    profile: Mapping[str, Any]
    """The fields of the model's profile."""
    exchanges: tuple[Exchange, ...]
