"""Prices: effective-dated rows, filled from the ``genai-prices`` package. Money is Decimal, never float."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, TieredPrices

from errors import UnpricedModelError
from storage.connect import Connection
from storage.statements import sql

_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs from an instant on: USD per million tokens."""

    provider: str
    model: str
    effective_from: datetime
    input_usd: Decimal
    cached_input_usd: Decimal | None
    cache_write_usd: Decimal | None
    output_usd: Decimal
    long_from: int | None
    long_input_usd: Decimal | None
    long_cached_input_usd: Decimal | None
    long_cache_write_usd: Decimal | None
    long_output_usd: Decimal | None


def published(models: Iterable[tuple[str, str]]) -> list[Price]:
    """The price rows of (provider, model) pairs as ``genai-prices`` knows them, each with the date it took effect.

    Raises :class:`errors.UnpricedModelError` for a model that it does not know: nothing runs unpriced.
    """
    snapshot = get_snapshot()
    prices = []
    for provider_id, model_id in models:
        found = next(
            (
                model
                for provider in snapshot.providers
                if provider.id == provider_id
                for model in provider.models
                if model.id == model_id
            ),
            None,
        )
        if found is None:
            raise UnpricedModelError(
                "genai-prices knows no price for this model",
                field="model",
                value=f"{provider_id}:{model_id}",
                hint="Add a price by hand, or name another model in the routing policy.",
            )
        steps = found.prices if isinstance(found.prices, list) else [ConditionalPrice(prices=found.prices)]
        for step in steps:
            if step.constraint is None:
                prices.append(_row(provider_id, model_id, _BEGINNING, step.prices))
            elif isinstance(step.constraint, StartDateConstraint):
                start = datetime.combine(step.constraint.start_date, time(), UTC)
                prices.append(_row(provider_id, model_id, start, step.prices))
            else:
                raise UnpricedModelError(
                    "its price depends on the time of day, which is not supported",
                    field="model",
                    value=f"{provider_id}:{model_id}",
                    hint="Add a price by hand, at the dearest rate.",
                )
    return prices


def sync(connection: Connection, prices: Iterable[Price]) -> int:
    """Insert the rows that are not there; rows once written stay as they are. Returns how many are new."""
    source = f"genai-prices {version('genai-prices')}"
    return sum(add(connection, price, source=source) for price in prices)


def add(connection: Connection, price: Price, *, source: str) -> bool:
    """Insert one row unless there is one of this model and date; whether it is new. ``source``: where it is from."""
    facts = asdict(price)
    digest = hashlib.sha256(repr(sorted((k, str(v)) for k, v in facts.items())).encode()).hexdigest()
    cursor = connection.execute(sql("prices", "add"), {**facts, "source": source, "source_hash": digest})
    return cursor.rowcount == 1


def _row(provider: str, model: str, start: datetime, rates: ModelPrice) -> Price:
    long_from = max((_threshold(rate) for rate in _rates(rates)), default=0) or None
    input_usd, output_usd = _base(rates.input_mtok), _base(rates.output_mtok)
    if input_usd is None or output_usd is None:
        raise UnpricedModelError("genai-prices has no input or output rate", field="model", value=f"{provider}:{model}")
    return Price(
        provider=provider,
        model=model,
        effective_from=start,
        input_usd=input_usd,
        cached_input_usd=_base(rates.cache_read_mtok),
        cache_write_usd=_base(rates.cache_write_mtok),
        output_usd=output_usd,
        long_from=long_from,
        long_input_usd=_long(rates.input_mtok) if long_from else None,
        long_cached_input_usd=_long(rates.cache_read_mtok) if long_from else None,
        long_cache_write_usd=_long(rates.cache_write_mtok) if long_from else None,
        long_output_usd=_long(rates.output_mtok) if long_from else None,
    )


def _rates(rates: ModelPrice) -> list[Any]:
    return [rates.input_mtok, rates.cache_read_mtok, rates.cache_write_mtok, rates.output_mtok]


def _threshold(rate: Decimal | TieredPrices | None) -> int:
    return max((tier.start for tier in rate.tiers), default=0) if isinstance(rate, TieredPrices) else 0


def _base(rate: Decimal | TieredPrices | None) -> Decimal | None:
    return rate.base if isinstance(rate, TieredPrices) else rate


def _long(rate: Decimal | TieredPrices | None) -> Decimal | None:
    if isinstance(rate, TieredPrices):
        return max(rate.tiers, key=lambda tier: tier.start).price if rate.tiers else rate.base
    return rate
