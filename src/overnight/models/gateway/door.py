"""Where an agent's program finds its model: a name that leads to the gateway, in this process."""

import contextlib
import re
import socket
from collections.abc import Generator

from overnight.domain.conversation import Completion
from overnight.domain.errors import ModelUnavailableError
from overnight.models.gateway.dialect import Asked
from overnight.models.gateway.exchange import Answer
from overnight.models.gateway.server import Gateway
from overnight.models.interface import OnDelta

HOST = "model.overnight.internal"
"""`internal` is reserved for private use: no name server of the world answers for it."""
URL = f"http://{HOST}"


class Door:
    """A gateway that answers while somebody stands behind it. One for each attempt."""

    def __init__(self, model: str) -> None:
        self.model = shown_name(model)
        """The name under which programs ask for the model."""
        self._gateway = Gateway(self._ask, self.model)
        self._answer: Answer | None = None

    def connect(self) -> socket.socket:
        """Return the client's end of a new connection."""
        return self._gateway.connect()

    @contextlib.contextmanager
    def answering(self, answer: Answer) -> Generator[None]:
        """Let `answer` answer what is asked in the body."""
        self._answer = answer
        try:
            yield
        finally:
            self._answer = None

    async def close(self) -> None:
        """Cut all connections."""
        await self._gateway.close()

    async def _ask(self, asked: Asked, on_delta: OnDelta) -> Completion:
        if self._answer is None:
            raise ModelUnavailableError("nobody answers any more")
        return await self._answer(asked, on_delta)


def shown_name(spec: str) -> str:
    """Return how a program gets to know a model: by the provider's own name for it, which some recognise.

    What follows the provider may also be a file of this machine, which is nobody's business.
    """
    provider, _, name = spec.partition(":")
    return name if re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?", name) else provider or "model"
