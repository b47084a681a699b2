"""Tenants: who pays, on which plan, up to how much a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import psycopg

from errors import InvalidInputError, NameTakenError, UnknownTenantError
from storage.db import names
from storage.db.connect import Connection
from storage.db.ids import new_id
from storage.db.statements import sql

LEAST_WEIGHT, MOST_WEIGHT = Decimal("0.01"), Decimal(10_000)
"""A weight beyond these would leave others, or its own tenant, next to nothing for ever."""

_TRIES = 3
_LOOKED_AT = 1000


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
    same_name: bool = False,
) -> UUID:
    """Add a tenant (as headrace_ops); its id. ``same_name``: also where another tenant has this name.

    Of two that race to add one name, one is refused: an index holds it, whichever way they come.

    :raises NameTakenError: another tenant has this name, or this external id.
    :raises InvalidInputError: a field cannot be what was given.
    """
    name = names.clean_name(name, field="name")
    if external_id is not None:
        external_id = names.clean_name(external_id, field="external_id")
    tenant_id = new_id()
    facts = {"id": tenant_id, "external_id": external_id, "name": name, "plan": plan, "daily_cap_usd": daily_cap_usd}
    for may_come_between in (same_name, False):
        try:
            connection.execute(sql("catalogue/tenants", "add"), {**facts, "same_name": same_name})
            break
        except psycopg.errors.ForeignKeyViolation as error:
            hint = names.did_you_mean(plan, plans(connection))
            raise InvalidInputError("no such plan", field="plan", value=plan, hint=hint) from error
        except psycopg.errors.UniqueViolation as error:
            if error.diag.constraint_name != "tenants_one_name":
                raise NameTakenError("is taken by another tenant", field="external_id", value=external_id) from error
            if not may_come_between:  # else another one of the name came between the look and the insert
                hint = _who_has_it(connection, name)
                raise NameTakenError("another tenant has this name", field="name", value=name, hint=hint) from error
        except psycopg.errors.CheckViolation as error:
            raise InvalidInputError("is out of range", field="daily_cap_usd", value=daily_cap_usd) from error
    return tenant_id


def add_if_missing(connection: Connection, *, name: str, plan: str, daily_cap_usd: Decimal | None) -> tuple[UUID, bool]:
    """The one tenant of this name, added where there is none (as headrace_ops); its id, and whether it was added.

    Of a tenant that is there already nothing is changed. Safe to repeat and to race.

    :raises InvalidInputError: a field cannot be what was given, or several tenants have that name.
    """
    for _ in range(_TRIES):
        known = ids_of(connection, names.clean_name(name, field="name"))
        if known:
            return _only(known, name, field="name"), False
        try:
            return add(connection, name=name, plan=plan, daily_cap_usd=daily_cap_usd), True
        except NameTakenError:  # between the two, by another process
            continue
    raise NameTakenError("another tenant has this name", field="name", value=name)


def plans(connection: Connection) -> list[str]:
    """The plans' names, cheapest first."""
    return [row["name"] for row in connection.execute(sql("catalogue/tenants", "plans")).fetchall()]


def find(connection: Connection, name_or_id: str) -> Tenant | None:
    """A tenant by id, external id or name (the newest of that name)."""
    row = connection.execute(sql("catalogue/tenants", "find"), {"given": names.compose(name_or_id)}).fetchone()
    return None if row is None else _tenant(row)


def resolve(connection: Connection, name_or_id: str) -> Tenant:
    """The one tenant that is meant by an id, an external id or a name.

    :raises UnknownTenantError: there is none; the error says which names are near.
    :raises InvalidInputError: it can be neither an id nor a name, or several tenants have that name.
    """
    given = names.clean_name(name_or_id, field="tenant")
    rows = connection.execute(sql("catalogue/tenants", "resolve"), {"given": given}).fetchall()
    if not rows:
        hint = names.did_you_mean(given, recent_names(connection), more="`headrace tenants list` shows all.")
        raise UnknownTenantError(field="tenant", value=given, hint=hint)
    _only([row["id"] for row in rows], given, field="tenant")
    return _tenant(rows[0])


def list_tenants(connection: Connection) -> list[Tenant]:
    """Every tenant that this connection may see, oldest first."""
    return [_tenant(row) for row in connection.execute(sql("catalogue/tenants", "list")).fetchall()]


def set_cap(connection: Connection, tenant_id: UUID, daily_cap_usd: Decimal | None, *, actor: str) -> None:
    """Change a tenant's daily cap (None: the plan's); in effect at the next begin, with an audit row.

    Raises :class:`errors.UnknownTenantError`.
    """
    done = connection.execute(
        sql("catalogue/tenants", "set_cap"), {"tenant_id": tenant_id, "daily_cap_usd": daily_cap_usd, "actor": actor}
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
    if connection.execute(sql("catalogue/tenants", "set_weight"), facts).rowcount == 0:
        raise UnknownTenantError(field="tenant_id", value=str(tenant_id), hint="`headrace tenants list` shows all.")


def ids_of(connection: Connection, name: str) -> list[UUID]:
    """The tenants of this name, oldest first; of many the first five."""
    return [row["id"] for row in connection.execute(sql("catalogue/tenants", "ids_of"), [name]).fetchall()]


def recent_names(connection: Connection) -> list[str]:
    """The names of the newest tenants, so many as one that is near an unknown name is looked for among."""
    return [
        row["name"] for row in connection.execute(sql("catalogue/tenants", "recent_names"), [_LOOKED_AT]).fetchall()
    ]


def _only(ids: Sequence[UUID], given: str, *, field: str) -> UUID:
    if len(ids) > 1:
        told = ", ".join(map(str, ids))
        raise InvalidInputError(
            "several tenants have this name", field=field, value=given, hint=f"Say which by its id: {told}."
        )
    return ids[0]


def _who_has_it(connection: Connection, name: str) -> str:
    ids = ", ".join(map(str, ids_of(connection, name)))
    return f"It is {ids}. `--if-missing` prints the id of the tenant that is there; `--same-name` adds another one."


def _tenant(row: dict[str, object]) -> Tenant:
    return Tenant(**{**row, "weight": float(str(row["weight"]))})  # type: ignore[arg-type]
