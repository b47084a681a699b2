"""What models cost as the package ``genai-prices`` publishes it, as dated rows. Nothing else reads that package."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import ROUND_DOWN, Decimal
from importlib.metadata import version

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, PriceVariant, StartDateConstraint, TieredPrices

from errors import UnpricedModelError
from storage.money.prices import Model, Price

_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
"""From when on a price holds that says no date: before any call that we could have made."""
_BATCH = {"processing": "batch"}
_A_TRILLIONTH = Decimal("1e-12")
# what may be billed apart from what we have a column for, and the column that it has to agree with
_APART = {
    "output_reasoning_mtok": "output_mtok",
    "output_citation_mtok": "output_mtok",
    "output_text_mtok": "output_mtok",
    "input_text_mtok": "input_mtok",
    "cache_text_read_mtok": "cache_read_mtok",
    "cache_text_write_mtok": "cache_write_mtok",
    "cache_write_5m_mtok": "cache_write_mtok",
    "requests_kcount": None,
}


def read_published(models: Iterable[Model]) -> list[Price]:
    """The price rows of models as ``genai-prices`` knows them, each with the date from which it holds, in that order.

    Raises :class:`errors.UnpricedModelError` for a model that it does not know, or whose price no row can say: nothing
    runs unpriced.
    """
    return [row for provider, model in models for row in _history(provider, model)]


def _history(provider: str, model: str) -> list[Price]:
    found = _find(provider, model)
    rows: list[Price] = []
    for at in _turning_points(provider, found):
        row = _row(provider, found, at)
        if not rows or row.rates() != rows[-1].rates():
            rows.append(row)
    return rows


def _find(provider: str, model: str) -> ModelInfo:
    for one in get_snapshot().providers:
        for info in one.models if one.id == provider else ():
            if info.id == model:
                return info
    raise _unpriced(provider, model, "genai-prices knows no price for this model")


def _turning_points(provider: str, model: ModelInfo) -> list[datetime]:
    """The instants from which another price may hold."""
    steps: list[ConditionalPrice | PriceVariant] = [
        *(model.prices if isinstance(model.prices, list) else ()),
        *(one for one in model.price_variants or () if one.when == _BATCH),
    ]
    found = {_BEGINNING}
    for step in steps:
        if isinstance(step.constraint, StartDateConstraint):
            found.add(datetime.combine(step.constraint.start_date, time(), UTC))
        elif step.constraint is not None:
            raise _unpriced(provider, model.id, "its price depends on the time of day, which no row can say")
    return sorted(found)


def _row(provider: str, model: ModelInfo, at: datetime) -> Price:
    standard, batch = model.get_prices(at), model.get_prices(at, _BATCH)
    _check(provider, model.id, standard)
    long_from = min(_thresholds(standard), default=None)
    discounts = _discounts(standard, batch)
    long = 0 if long_from is None else long_from + 1

    def rate(name: str, tokens: int) -> Decimal | None:
        return _at(getattr(standard, name), tokens)

    return Price(
        provider=provider,
        model=model.id,
        effective_from=at,
        input_usd=_at(standard.input_mtok, 0) or Decimal(0),
        cached_input_usd=rate("cache_read_mtok", 0),
        cache_write_usd=rate("cache_write_mtok", 0),
        output_usd=_at(standard.output_mtok, 0) or Decimal(0),
        long_from=long_from,
        long_input_usd=rate("input_mtok", long) if long else None,
        long_cached_input_usd=rate("cache_read_mtok", long) if long else None,
        long_cache_write_usd=rate("cache_write_mtok", long) if long else None,
        long_output_usd=rate("output_mtok", long) if long else None,
        batch_discount=max(min(discounts, default=Decimal(0)), Decimal(0)),
        source=f"genai-prices {version('genai-prices')}" + (", least batch discount" if len(discounts) > 1 else ""),
    )


def _check(provider: str, model: str, price: ModelPrice) -> None:
    if price.input_mtok is None or price.output_mtok is None:
        raise _unpriced(provider, model, "genai-prices has no input or output rate")
    if len(_thresholds(price)) > 1:
        raise _unpriced(provider, model, "it has several long-context tiers, and a row has one")
    for name, like in _APART.items():
        apart = getattr(price, name)
        if apart is not None and apart != (getattr(price, like) if like else Decimal(0)):
            raise _unpriced(provider, model, f"it is billed by {name} too, for which a row has no column")


def _discounts(standard: ModelPrice, batch: ModelPrice) -> set[Decimal]:
    """By how much a batch is cheaper, for each kind of token and each size of the prompt: one value if they all agree.

    Where they do not, a row that says the least of them never bills less than the provider does.
    """
    found = set()
    for tokens in (0, *(edge + 1 for edge in _thresholds(standard) | _thresholds(batch))):
        for name, otherwise in (
            ("input_mtok", "input_mtok"),
            ("cache_read_mtok", "input_mtok"),
            ("cache_write_mtok", "input_mtok"),
            ("output_mtok", "output_mtok"),
        ):
            full, less = (
                _at(getattr(price, name if getattr(price, name) is not None else otherwise), tokens)
                for price in (standard, batch)
            )
            if full and less is not None:
                # rounded down: a third cannot be written, and less off is never too cheap
                found.add((1 - less / full).quantize(_A_TRILLIONTH, ROUND_DOWN).normalize())
    return found


def _thresholds(price: ModelPrice) -> set[int]:
    rates = (price.input_mtok, price.cache_read_mtok, price.cache_write_mtok, price.output_mtok)
    return {tier.start for rate in rates if isinstance(rate, TieredPrices) for tier in rate.tiers}


def _at(rate: Decimal | TieredPrices | None, tokens: int) -> Decimal | None:
    """The rate for a prompt of so many tokens."""
    if not isinstance(rate, TieredPrices):
        return rate
    return next((tier.price for tier in reversed(rate.tiers) if tokens > tier.start), rate.base)


def _unpriced(provider: str, model: str, why: str) -> UnpricedModelError:
    return UnpricedModelError(
        why,
        field="model",
        value=f"{provider}:{model}",
        hint="Add one by hand (`headrace prices add`), at the dearest rate that may apply, or route elsewhere.",
    )
