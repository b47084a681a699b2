"""Tenants: who pays, on which plan, up to how much a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import psycopg

from errors import InvalidInputError, UnknownTenantError
from storage.connect import Connection
from storage.ids import new_id
from storage.statements import sql

LEAST_WEIGHT, MOST_WEIGHT = Decimal("0.01"), Decimal(10_000)
"""A weight beyond these would leave others, or its own tenant, next to nothing for ever."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant. Caps in USD a rolling 24 hours, effective values (its own, else the plan's)."""

    id: UUID
    external_id: str | None
    name: str
    plan: str
    daily_cost_cap_usd: Decimal
    weight: float
    paused: bool
    created_at: datetime


def add(
    connection: Connection,
    *,
    name: str,
    plan: str = "free",
    daily_cap_usd: Decimal | None = None,
    external_id: str | None = None,
) -> UUID:
    """Add a tenant (as headrace_ops); its id. Raises :class:`errors.InvalidInputError` naming the field."""
    tenant_id = new_id()
    try:
        connection.execute(sql("tenants", "add"), [tenant_id, external_id, name, plan, daily_cap_usd])
    except psycopg.errors.ForeignKeyViolation as error:
        raise InvalidInputError(
            "no such plan", field="plan", value=plan, hint=f"One of: {', '.join(plans(connection))}."
        ) from error
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInputError("is taken by another tenant", field="external_id", value=external_id) from error
    except psycopg.errors.CheckViolation as error:
        field = "daily_cap_usd" if "cost_cap" in str(error.diag.constraint_name) else "name"
        value = daily_cap_usd if field == "daily_cap_usd" else name
        raise InvalidInputError("is out of range", field=field, value=value) from error
    return tenant_id


def plans(connection: Connection) -> list[str]:
    """The plans' names, cheapest first."""
    return [row["name"] for row in connection.execute(sql("tenants", "plans")).fetchall()]


def find(connection: Connection, name_or_id: str) -> Tenant | None:
    """A tenant by id, external id or name (the newest of that name)."""
    row = connection.execute(sql("tenants", "find"), {"given": name_or_id}).fetchone()
    return None if row is None else _tenant(row)


def resolve(connection: Connection, name_or_id: str) -> Tenant:
    """The one tenant that is meant by an id, an external id or a name.

    Raises :class:`errors.UnknownTenantError`, or :class:`errors.InvalidInputError` when several have that name.
    """
    rows = connection.execute(sql("tenants", "resolve"), {"given": name_or_id}).fetchall()
    if not rows:
        raise UnknownTenantError(field="tenant", value=name_or_id, hint="`headrace tenants list` shows all.")
    if len(rows) > 1:
        ids = ", ".join(str(row["id"]) for row in rows)
        raise InvalidInputError(
            "several tenants have this name", field="tenant", value=name_or_id, hint=f"Say which by its id: {ids}."
        )
    return _tenant(rows[0])


def list_tenants(connection: Connection) -> list[Tenant]:
    """Every tenant that this connection may see, oldest first."""
    return [_tenant(row) for row in connection.execute(sql("tenants", "list")).fetchall()]


def set_cap(connection: Connection, tenant_id: UUID, daily_cap_usd: Decimal | None, *, actor: str) -> None:
    """Change a tenant's daily cap (None: the plan's); in effect at the next begin, with an audit row.

    Raises :class:`errors.UnknownTenantError`.
    """
    done = connection.execute(
        sql("tenants", "set_cap"), {"tenant_id": tenant_id, "daily_cap_usd": daily_cap_usd, "actor": actor}
    )
    if done.rowcount == 0:
        raise UnknownTenantError(field="tenant_id", value=str(tenant_id), hint="`headrace tenants list` shows all.")


def set_weight(connection: Connection, tenant_id: UUID, weight: Decimal | None, *, actor: str) -> None:
    """Change a tenant's share of the fleet against others (None: the plan's); with an audit row.

    In effect at its next claim, for the backlog that is there too.

    :raises InvalidInputError: it is no weight.
    :raises UnknownTenantError: there is no such tenant.
    """
    if weight is not None and (not weight.is_finite() or not LEAST_WEIGHT <= weight <= MOST_WEIGHT):
        raise InvalidInputError(
            "is no weight", field="weight", value=f"{weight:f}", hint=f"Give {LEAST_WEIGHT} to {MOST_WEIGHT}."
        )
    facts = {"tenant_id": tenant_id, "weight": weight, "actor": actor}
    if connection.execute(sql("tenants", "set_weight"), facts).rowcount == 0:
        raise UnknownTenantError(field="tenant_id", value=str(tenant_id), hint="`headrace tenants list` shows all.")


def _tenant(row: dict[str, object]) -> Tenant:
    return Tenant(**{**row, "weight": float(str(row["weight"]))})  # type: ignore[arg-type]
