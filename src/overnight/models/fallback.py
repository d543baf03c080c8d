"""A chain of models: where one is not available, the next is asked."""

import time
from collections.abc import Sequence

import msgspec

from overnight.domain.conversation import Completion, Request
from overnight.domain.errors import CredentialError, ModelUnavailableError, QuotaError
from overnight.models.interface import Model, ModelProfile, OnDelta, OnLimit, OnWaiting

REST_SECONDS = 300.0
"""So long a model that was not available is left alone while another one in the chain answers."""


class FallbackModel:
    """Models in the order of preference, as one `Model`.

    Its profile promises what every one of them can do. A request that does not fit or is refused is no
    reason for another model: it would be refused there, or should be seen.
    """

    def __init__(self, name: str, models: Sequence[Model]) -> None:
        self.name = name
        self.profile = _common(name, [model.profile for model in models])
        self._models = tuple(models)
        self._rests_until = [0.0] * len(self._models)

    async def complete(
        self,
        request: Request,
        on_delta: OnDelta | None = None,
        on_waiting: OnWaiting | None = None,
        on_reasoning: OnDelta | None = None,
        on_limit: OnLimit | None = None,
    ) -> Completion:
        """Return the answer of the first model that gives one; raises what the last one raised."""
        now = time.monotonic()
        awake = [index for index, until in enumerate(self._rests_until) if until <= now]
        order = awake or list(range(len(self._models)))
        for place, index in enumerate(order):
            model = self._models[index]
            try:
                return await model.complete(request, on_delta, on_waiting, on_reasoning, on_limit)
            except (ModelUnavailableError, QuotaError, CredentialError) as error:
                self._rests_until[index] = time.monotonic() + REST_SECONDS
                if place + 1 == len(order):
                    raise
                if on_waiting is not None:
                    on_waiting(f"{error.message} Asking {self._models[order[place + 1]].name} instead.")
        raise AssertionError("a chain has at least one model")

    async def close(self) -> None:
        """Close every model of the chain."""
        for model in self._models:
            await model.close()


def _common(name: str, profiles: Sequence[ModelProfile]) -> ModelProfile:
    """Return what all of the profiles can do; agent, form of edits and prices are those of the first."""
    return msgspec.structs.replace(
        profiles[0],
        name=name,
        context_tokens=min(profile.context_tokens for profile in profiles),
        max_output_tokens=min(profile.max_output_tokens for profile in profiles),
        tool_calls=all(profile.tool_calls for profile in profiles),
        images=all(profile.images for profile in profiles),
        parallel=min(profile.parallel for profile in profiles),
    )
