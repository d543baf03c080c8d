"""What a person's configuration says of models: other facts than the catalog's, and what to fall back to.

Tables `[models."provider:name"]`; `[models."provider:*"]` is for every model of a provider.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from overnight.domain.errors import UsageError
from overnight.models.interface import EditFormat, Effort, ModelProfile


class ModelOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table. What is not set stays as the catalog has it; the fields are those of `ModelProfile`."""

    context_tokens: int | None = None
    max_output_tokens: int | None = None
    tool_calls: bool | None = None
    images: bool | None = None
    edit_format: EditFormat | None = None
    agent: Literal["loop", "repair"] | None = None
    parallel: int | None = None
    reasoning: Effort | None = None
    token_trace: bool | None = None
    input_price: float | None = None
    cached_price: float | None = None
    cache_write_price: float | None = None
    output_price: float | None = None
    fallback: str | tuple[str, ...] = ()
    """Models to ask, in this order, where this one is not available."""

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The fallbacks as a list."""
        return (self.fallback,) if isinstance(self.fallback, str) else self.fallback


def read_overrides(tables: Mapping[str, Any], where: str) -> dict[str, ModelOverride]:
    """Return the tables by the model's name; `where` names the file for error messages.

    Raises:
        UsageError: a table holds what it cannot.
    """
    found: dict[str, ModelOverride] = {}
    for name, table in tables.items():
        try:
            override = msgspec.convert(table, ModelOverride)
        except msgspec.ValidationError as error:
            fields = ", ".join(ModelOverride.__struct_fields__)
            raise UsageError(f'{where}: [models."{name}"]: {error}.', f"Fields: {fields}.") from error
        for field, value in msgspec.structs.asdict(override).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                least = 0 if field.endswith("_price") else 1
                # Written so that NaN is refused as well.
                if not least <= value < float("inf"):
                    raise UsageError(f'{where}: [models."{name}"]: {field} is {value}.', f"At least {least}.")
        found[name] = override
    return found


def apply_overrides(profile: ModelProfile, overrides: Mapping[str, ModelOverride]) -> ModelProfile:
    """Return the profile as the configuration has it; the model's own table goes before its provider's."""
    provider = profile.name.partition(":")[0]
    for key in (f"{provider}:*", profile.name):
        override = overrides.get(key)
        if override is not None:
            fields = msgspec.structs.asdict(override)
            fields.pop("fallback")
            changes = {name: value for name, value in fields.items() if value is not None}
            profile = msgspec.structs.replace(profile, **changes)
    return profile
