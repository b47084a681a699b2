"""What was spent, from the daily rollup: whole UTC days, each call in the day of its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from storage.connect import Connection
from storage.statements import sql


class By(StrEnum):
    """Whose spend a row is."""

    TENANT = "tenant"
    USER = "user"
    FEATURE = "feature"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Spend:
    """What some calls came to. ``of`` says whose they are (``{"tenant": …, "tenant_id": …}``); cost in USD, exact.

    ``input_tokens`` is all input, ``cached_input_tokens`` the part of it that came from the provider's cache.
    """

    of: Mapping[str, str]
    calls: int
    failed_calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: Decimal


_FIGURES = ("calls", "failed_calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd")


def by_tenant(connection: Connection, *, since: date, tenant_id: UUID | None = None) -> list[Spend]:
    """Spend since a day (it included), a row a tenant, dearest first."""
    return _rows(connection.execute(sql("spend", "by_tenant"), {"since": since, "tenant_id": tenant_id}).fetchall())


def by_user(connection: Connection, *, since: date, tenant_id: UUID | None = None) -> list[Spend]:
    """The same, a row a user of a tenant."""
    return _rows(connection.execute(sql("spend", "by_user"), {"since": since, "tenant_id": tenant_id}).fetchall())


def by_feature(connection: Connection, *, since: date, tenant_id: UUID | None = None) -> list[Spend]:
    """The same, a row a feature."""
    return _rows(connection.execute(sql("spend", "by_feature"), {"since": since, "tenant_id": tenant_id}).fetchall())


def by_model(connection: Connection, *, since: date, tenant_id: UUID | None = None) -> list[Spend]:
    """The same, a row a model of a provider."""
    return _rows(connection.execute(sql("spend", "by_model"), {"since": since, "tenant_id": tenant_id}).fetchall())


def total(rows: Sequence[Spend]) -> Spend:
    """The sum of some rows."""
    return Spend(
        of={},
        calls=sum(row.calls for row in rows),
        failed_calls=sum(row.failed_calls for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        cached_input_tokens=sum(row.cached_input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost_usd=sum((row.cost_usd for row in rows), Decimal(0)),
    )


def _rows(rows: list[dict[str, Any]]) -> list[Spend]:
    return [
        Spend(
            of={name: value for name, value in row.items() if name not in _FIGURES},
            **{name: row[name] for name in _FIGURES},
        )
        for row in rows
    ]
