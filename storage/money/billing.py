"""What tenants pay, what their usage is worth, and how closed days get to Stripe.

Usage is counted by the UTC day of settling (``billing_daily``). A closed day is frozen: whatever is settled or
corrected later counts in a later day. Money is USD and exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import psycopg

from errors import InvalidInputError
from storage.db.connect import Connection
from storage.db.statements import sql

METER_EVENT = "stripe.meter_event"
"""The topic of the outbox under which closed days wait for Stripe."""

SURE_S = 23 * 3600.0
"""So long an event may be sent again after an answer was lost: Stripe knows an identifier for 24 h at least."""

_FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class TenantPrice:
    """What a tenant pays from a UTC day on: a factor on the platform's cost, USD a call, USD a million tokens."""

    effective_from: date
    cost_factor: Decimal
    per_call_usd: Decimal
    input_mtok_usd: Decimal
    output_mtok_usd: Decimal


@dataclass(frozen=True, slots=True)
class Margin:
    """What a tenant's usage cost and brought, USD (of several tenants: ``tenant_id`` None).

    ``unpriced_usd`` is the part of the cost on days without a price; it is no part of the margin. Without any price
    there is no revenue and no margin (None).
    """

    tenant: str
    tenant_id: UUID | None
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    unpriced_usd: Decimal
    revenue_usd: Decimal | None

    @property
    def margin_usd(self) -> Decimal | None:
        """Revenue less the cost of the same days."""
        return None if self.revenue_usd is None else self.revenue_usd - (self.cost_usd - self.unpriced_usd)

    @property
    def margin_percent(self) -> Decimal | None:
        """The margin as a part of the revenue, in percent; None without revenue."""
        if self.margin_usd is None or not self.revenue_usd:
            return None
        return self.margin_usd / self.revenue_usd * 100


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """A day that is closed for good: what it was worth, USD, and what of it was exported, millionths of a dollar."""

    tenant_id: UUID
    day: date
    revenue_usd: Decimal
    billed_micro_usd: int


@dataclass(frozen=True, slots=True)
class Status:
    """How far a tenant's past days are. ``carried_usd`` is owed and not exported yet (below 0: the tenant's credit)."""

    tenant: str
    tenant_id: UUID
    stripe_customer_id: str | None
    open_days: int
    closed_days: int
    sent_days: int
    waiting_days: int
    failed_days: int
    held_days: int
    billed_usd: Decimal
    carried_usd: Decimal


@dataclass(frozen=True, slots=True)
class Unsent:
    """A closed day whose event was tried in vain. ``held``: a person has to say whether Stripe has it."""

    tenant: str
    tenant_id: UUID
    day: date
    attempts: int
    error: str | None
    next_try_at: datetime | None
    held: bool


def prices(connection: Connection, tenant_id: UUID) -> list[TenantPrice]:
    """What a tenant pays, paid and will pay, newest first."""
    return [TenantPrice(**row) for row in connection.execute(sql("money/billing", "prices"), [tenant_id]).fetchall()]


def set_price(
    connection: Connection,
    tenant_id: UUID,
    *,
    effective_from: date,
    cost_factor: Decimal | None = None,
    per_call_usd: Decimal | None = None,
    input_mtok_usd: Decimal | None = None,
    output_mtok_usd: Decimal | None = None,
    actor: str,
) -> TenantPrice:
    """Set what a tenant pays from a day on; what is None stays as in force on that day (0 before the first price).

    Written to the audit. Days that are closed keep their worth. Amounts are 0 or more.
    """
    row = connection.execute(
        sql("money/billing", "set_price"),
        {
            "tenant_id": tenant_id,
            "effective_from": effective_from,
            "cost_factor": cost_factor,
            "per_call_usd": per_call_usd,
            "input_mtok_usd": input_mtok_usd,
            "output_mtok_usd": output_mtok_usd,
            "actor": actor,
        },
    ).fetchone()
    assert row is not None, "an upsert without a condition returns its row"
    return TenantPrice(**row)


def set_customer(connection: Connection, tenant_id: UUID, customer: str | None, *, actor: str) -> None:
    """Say which customer at Stripe a tenant is (None: none any more), with an audit row.

    :raises InvalidInputError: another tenant is that customer.
    """
    facts = {"tenant_id": tenant_id, "customer": customer, "actor": actor}
    try:
        connection.execute(sql("money/billing", "set_customer"), facts)
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInputError("is another tenant's", field="customer", value=customer) from error


def margin(connection: Connection, *, since: date, tenant_id: UUID | None = None) -> list[Margin]:
    """What usage settled since a UTC day (it included) cost and brought, a row a tenant, dearest first."""
    rows = connection.execute(sql("money/billing", "margin"), {"since": since, "tenant_id": tenant_id}).fetchall()
    return [Margin(**row) for row in rows]


def close_days(connection: Connection) -> list[ClosedDay]:
    """Close every past day that can be, each in a transaction of its own on an autocommit connection.

    Safe beside itself and to repeat; a day that somebody else holds is left for the next time.
    """
    closed: list[ClosedDay] = []
    while (one := close_day(connection, closed[-1].tenant_id if closed else _FIRST)) is not None:
        closed.append(one)
    return closed


def close_day(connection: Connection, first_tenant: UUID = _FIRST) -> ClosedDay | None:
    """Close the earliest past day of the first tenant, from one on by id, that has one to close; None if none has."""
    row = connection.execute(sql("money/billing", "close_day"), [first_tenant]).fetchone()
    return None if row is None else ClosedDay(**row)


def status(connection: Connection) -> list[Status]:
    """How far the past days of every tenant with usage are."""
    return [Status(**row) for row in connection.execute(sql("money/billing", "status"), {"sure_s": SURE_S}).fetchall()]


def unsent(connection: Connection, *, limit: int = 100) -> list[Unsent]:
    """The closed days whose events were tried in vain, oldest first."""
    facts = {"sure_s": SURE_S, "limit": limit}
    return [Unsent(**row) for row in connection.execute(sql("money/billing", "unsent"), facts).fetchall()]


def resolve(connection: Connection, tenant_id: UUID, day: date, *, sent: bool, actor: str) -> bool:
    """Note what a person found at Stripe: that the event of a day is there (``sent``), or that it is to be tried again.

    Written to the audit. False when no event of that day waits.
    """
    facts = {"tenant_id": tenant_id, "day": day, "sent": sent, "actor": actor}
    return connection.execute(sql("money/billing", "resolve"), facts).fetchone() is not None
