"""The seam of every model: one request in, one completion out."""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from overnight.domain.conversation import Completion, Request

OnDelta = Callable[[str], None]
OnWaiting = Callable[[str], None]
OnLimit = Callable[[str, str], None]
"""Gets the name of a limit that was reached, and what came of it."""

EditFormat = Literal["patch", "replace", "whole"]
Effort = Literal["", "none", "low", "medium", "high"]
"""How much a model shall think; empty leaves it to the provider."""


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can do, as data. Prices are US dollars per million tokens; None where none is known."""

    name: str
    context_tokens: int = 128_000
    max_output_tokens: int = 8_192
    tool_calls: bool = True
    images: bool = False
    """Whether it looks at pictures."""
    edit_format: EditFormat = "patch"
    """The form in which it edits files best: `apply_patch`, search and replace, or whole files."""
    agent: Literal["loop", "repair"] = "loop"
    """The agent that suits the model when nobody chose one."""
    parallel: int = 4
    """Requests of one attempt that are worth sending at the same time."""
    reasoning: Effort = ""
    token_trace: bool = False
    """Whether the server is asked for token ids and log-probabilities."""
    input_price: float | None = None
    cached_price: float | None = None
    """Of input that the provider has read before; None, as for the next one: the price of input."""
    cache_write_price: float | None = None
    output_price: float | None = None

    @property
    def priced(self) -> bool:
        """Whether a cost can be told."""
        return self.input_price is not None and self.output_price is not None

    def cost(self, fresh: int, cached: int, written: int, output: int) -> float:
        """Return the price of so many tokens in US dollars; 0 where no price is known (see `priced`).

        The input is `fresh`, `cached` (read from the provider's cache) and `written` (into it) in sum.
        """
        if self.input_price is None or self.output_price is None:
            return 0.0
        read = self.input_price if self.cached_price is None else self.cached_price
        write = self.input_price if self.cache_write_price is None else self.cache_write_price
        dollars = fresh * self.input_price + cached * read + written * write + output * self.output_price
        return dollars / 1e6


class Model(Protocol):
    """A language model. Safe to share by several attempts of one process."""

    name: str
    """As the user wrote it: `provider:name`."""
    profile: ModelProfile

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Return the answer to `request`; retries what is worth retrying, telling `on_waiting` why.

        `on_delta` gets the answer's text as it comes, `on_reasoning` what the model says of its thinking.
        `on_limit` gets the name and detail of a limit.

        Raises:
            ModelUnavailableError: the model could not be reached for too long.
            ContextOverflowError: the request does not fit the context window.
            CredentialError: the key is missing or refused.
            ModelError: any other failure.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
