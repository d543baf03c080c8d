"""Context sizes and prices of providers' models, from the price list that pydantic-ai brings along."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from overnight.models.catalog import Provider, default_profile
from overnight.models.interface import ModelProfile


def priced_profile(provider: Provider, name: str) -> ModelProfile:
    """Return a model's profile with what the price list knows of it.

    Prices are the cheapest tier's: a cost computed from them is an estimate. A model that is not listed
    keeps the provider's default.
    """
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TieredPrices

    profile = default_profile(provider, name)
    try:
        _, model = get_snapshot().find_provider_model(name, None, provider.price_list or provider.name, None)
    except LookupError:
        return profile
    prices = model.get_prices(datetime.now(UTC))

    def dollars(price: Decimal | TieredPrices | None) -> float | None:
        if isinstance(price, TieredPrices):
            price = price.base
        return float(price) if price is not None else None

    return msgspec.structs.replace(
        profile,
        context_tokens=model.context_window or profile.context_tokens,
        input_price=dollars(prices.input_mtok),
        cached_price=dollars(prices.cache_read_mtok),
        cache_write_price=dollars(prices.cache_write_mtok),
        output_price=dollars(prices.output_mtok),
    )
