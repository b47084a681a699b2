"""Prices: effective-dated rows, never changed once written. Money is Decimal, never float.

The row in force at an instant is the last one that is effective by then. Rows come from the package ``genai-prices``
(``storage/money/price_sync.py``) or by hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

import psycopg

from errors import InvalidInputError
from storage.db import names
from storage.db.connect import Connection
from storage.db.statements import sql

Model: TypeAlias = tuple[str, str]
"""A provider and its model."""

BY_HAND = "hand"
"""The ``source`` of a row that somebody wrote by hand."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs from an instant on: USD per million tokens.

    A prompt of more than ``long_from`` tokens is billed whole at the long rates. A rate of the cache that is None is
    the plain input's. ``batch_discount`` is the part that a provider's batch takes off all of it, 0 to under 1.
    ``source`` says where the row is from.
    """

    provider: str
    model: str
    effective_from: datetime
    input_usd: Decimal
    output_usd: Decimal
    cached_input_usd: Decimal | None = None
    cache_write_usd: Decimal | None = None
    long_from: int | None = None
    long_input_usd: Decimal | None = None
    long_output_usd: Decimal | None = None
    long_cached_input_usd: Decimal | None = None
    long_cache_write_usd: Decimal | None = None
    batch_discount: Decimal = Decimal(0)
    source: str = ""

    @property
    def of(self) -> Model:
        """Whose price it is."""
        return self.provider, self.model

    def rates(self) -> dict[str, Decimal | int | None]:
        """What it says, without whose, since when and from where."""
        return {name: getattr(self, name) for name in RATES}

    def before(self, rows: Iterable[Price]) -> Price | None:
        """The row that would be in force at its date without it, among some."""
        older = (row for row in rows if row.of == self.of and row.effective_from < self.effective_from)
        return max(older, key=lambda row: row.effective_from, default=None)


RATES = (
    "input_usd", "cached_input_usd", "cache_write_usd", "output_usd", "long_from", "long_input_usd",
    "long_cached_input_usd", "long_cache_write_usd", "long_output_usd", "batch_discount",
)  # fmt: skip
"""The columns that say how much, in the order in which people read them."""


class ChangeKind(StrEnum):
    """In what way prices differ."""

    NEW_MODEL = "new model"
    NEW_STEP = "new step"
    CHANGED_RATE = "changed rate"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Change:
    """One way in which prices differ: the row that is new, and the one that would be in force without it (if any).

    Of a row that is *gone* there is only ``was``.
    """

    kind: ChangeKind
    price: Price | None
    was: Price | None

    @property
    def row(self) -> Price:
        """The row that it is about."""
        row = self.price or self.was
        assert row is not None, "a change is of something"
        return row

    def rates(self) -> dict[str, tuple[Decimal | int | None, Decimal | int | None]]:
        """Column → before and after, of the columns that change."""
        before = self.was.rates() if self.was else dict.fromkeys(RATES)
        after = self.price.rates() if self.price else dict.fromkeys(RATES)
        return {name: (before[name], after[name]) for name in RATES if before[name] != after[name]}


def in_force(rows: Iterable[Price], at: datetime) -> dict[Model, Price]:
    """Of each model the row in force at an instant."""
    found: dict[Model, Price] = {}
    for row in sorted(rows, key=lambda one: one.effective_from):
        if row.effective_from <= at:
            found[row.of] = row
    return found


def check_model(connection: Connection, given: str) -> None:
    """Refuse a model that has no price.

    :raises InvalidInputError: the error says which models there are.
    """
    known = sorted({price.model for price in list_prices(connection)})
    if given not in known:
        hint = names.did_you_mean(given, known, more="`headrace prices list` shows all.")
        raise InvalidInputError("no such model", field="model", value=given, hint=hint)


def list_prices(connection: Connection, model: str | None = None) -> list[Price]:
    """Every row (of one model, whoever provides it), by provider and model, the oldest first."""
    rows = connection.execute(sql("money/prices", "list"), {"model": model}).fetchall()
    return [Price(**row) for row in rows]


def moment(connection: Connection) -> datetime:
    """The database's now, which decides what is in force."""
    row = connection.execute(sql("money/prices", "moment")).fetchone()
    assert row is not None, "a select without a table has one row"
    return row["now"]  # type: ignore[no-any-return]


def lock(connection: Connection) -> None:
    """Let nobody else bring prices up to date until the transaction ends; reading and pricing go on."""
    connection.execute(sql("money/prices", "lock"))


def add(connection: Connection, price: Price) -> bool:
    """Insert one row unless there is one of this model and date; whether it is new."""
    return connection.execute(sql("money/prices", "add"), _as_row(price)).rowcount == 1


def add_by_hand(connection: Connection, price: Price, *, actor: str) -> None:
    """Insert one row in the name of ``actor``, with an audit row. Its ``source`` becomes *hand*.

    :raises InvalidInputError: there is a row of this model and instant, or the rates cannot be.
    """
    try:
        added = connection.execute(
            sql("money/prices", "add_by_hand"), {**_as_row(price), "source": BY_HAND, "actor": actor}
        ).fetchone()
    except psycopg.errors.CheckViolation as error:
        raise InvalidInputError(
            "is no price that could be",
            field="price",
            value=f"{price.provider}:{price.model}",
            hint="Rates are 0 or more, a batch discount is under 1, and a long tier needs its input and output rates.",
        ) from error
    if added is None:
        raise InvalidInputError(
            "there is a price of this model from that instant, and rows are never changed",
            field="from",
            value=price.effective_from.isoformat(),
            hint="Let the new one begin a second later.",
        )


def _as_row(price: Price) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "provider": price.provider,
        "model": price.model,
        "effective_from": price.effective_from,
        **price.rates(),
    }
    digest = hashlib.sha256(repr(sorted((k, str(v)) for k, v in facts.items())).encode()).hexdigest()
    return {**facts, "source": price.source, "source_hash": digest}
