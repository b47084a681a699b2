"""Pricing history anew: runs whose price was corrected after they had started. As headrace_ops.

A row of prices never changes. What corrects it is a row with an earlier date than the calls that it is to price; these
are *mispriced* until they are priced by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql

AT_ONCE = 200
"""Runs that one transaction looks at: its tenant's other calls wait for the caps while the differences are booked."""


_LEAST = timedelta(microseconds=1)  # of Postgres's clock


@dataclass(frozen=True, slots=True)
class Mispriced:
    """Runs of a tenant that were priced by another row than was in force; what they cost before and after, USD."""

    tenant_id: UUID
    tenant: str
    runs: int
    before_usd: Decimal
    after_usd: Decimal


@dataclass(frozen=True, slots=True)
class Period:
    """Which runs: those that started from ``since`` on and before ``until``, of one ``model`` or of every one."""

    since: datetime
    until: datetime
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Repriced:
    """What one transaction did: how many runs, their cost before and after, USD; the start of the last it looked at."""

    runs: int
    before_usd: Decimal
    after_usd: Decimal
    last_at: datetime | None


def mispriced(connection: Connection, period: Period, *, tenant_id: UUID | None = None) -> list[Mispriced]:
    """What pricing anew would come to, a row a tenant (or only that of one). Changes nothing."""
    rows = connection.execute(
        sql("money/repricing", "mispriced"),
        {"tenant_id": tenant_id, "since": period.since, "until": period.until, "model": period.model},
    ).fetchall()
    return [Mispriced(**row) for row in rows]


def reprice(
    connection: Connection, tenant_id: UUID, period: Period, *, actor: str, reason: str, limit: int = AT_ONCE
) -> Repriced:
    """Look at a tenant's ``limit`` oldest runs and price the mispriced anew, with one row of audit. One transaction."""
    row = connection.execute(
        sql("money/repricing", "reprice"),
        {
            "tenant_id": tenant_id,
            "since": period.since,
            "until": period.until,
            "model": period.model,
            "limit": limit,
            "actor": actor,
            "reason": reason,
        },
    ).fetchone()
    assert row is not None, "a function with OUT parameters returns a row"
    return Repriced(**row)


def reprice_all(
    connection: Connection, whose: Mispriced, period: Period, *, actor: str, reason: str, limit: int = AT_ONCE
) -> Mispriced:
    """Price all of a tenant's anew, on an autocommit connection: a transaction at a time. What was done in all.

    What stops it half-way leaves whole transactions with their rows of audit; the rest is found again.
    """
    runs, before_usd, after_usd = 0, Decimal(0), Decimal(0)
    while True:
        done = reprice(connection, whose.tenant_id, period, actor=actor, reason=reason, limit=limit)
        runs, before_usd, after_usd = runs + done.runs, before_usd + done.before_usd, after_usd + done.after_usd
        if done.last_at is None:
            return replace(whose, runs=runs, before_usd=before_usd, after_usd=after_usd)
        period = replace(period, since=done.last_at + _LEAST)
