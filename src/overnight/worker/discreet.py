"""A model that never sees a secret: what is sent to it passes the same search as what is kept."""

from overnight.domain.conversation import Completion, Request
from overnight.domain.ports import Redaction
from overnight.models.interface import Model, OnDelta, OnWaiting


class DiscreetModel:
    """Another model behind a redaction; whoever runs that one reads no value of ours in a prompt."""

    def __init__(self, model: Model, redaction: Redaction) -> None:
        self.name = model.name
        self.profile = model.profile
        self._model = model
        self._redaction = redaction

    async def complete(
        self, request: Request, on_delta: OnDelta | None = None, on_waiting: OnWaiting | None = None
    ) -> Completion:
        """Return the answer to the redacted request; raises what the model raises."""
        return await self._model.complete(self._redaction.value(request), on_delta, on_waiting)

    async def close(self) -> None:
        """Leave the model open: it belongs to the process, not to the attempt."""
