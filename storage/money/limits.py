"""Limits that operators change while jobs run: dollars a rolling day, requests a minute, jobs at once.

Each change is in effect at the next ``begin`` or claim, which read the limits fresh, and leaves an audit row.
Everything here works as headrace_ops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from errors import InvalidInputError, UnknownTenantError
from storage.catalogue import policy, tenants
from storage.db import names
from storage.db.connect import Connection
from storage.db.statements import sql
from storage.money import prices

_MOST_PER_MINUTE: Final = 2**31 - 1  # what the column holds
_MOST_SLOTS: Final = 100_000  # each is a row
_PLAN_USD: Final = ("daily_cost_cap_usd",)
_PLAN_RATES: Final = ("user_per_minute", "tenant_per_minute")
_PLAN_FIELDS: Final = (*_PLAN_USD, "user_share", *_PLAN_RATES)


class Scope(StrEnum):
    """Whom a limit binds. A cap has one of the first three; a rate may have any."""

    TENANT = "tenant"  # the key is ''
    USER = "user"  # the key is the user's id; as a rate also '': every user that has none of its own
    FEATURE = "feature"  # the key is the feature: all its users together
    FEATURE_USER = "feature_user"  # the key is the feature: each of its users by himself


class SlotScope(StrEnum):
    """What a concurrency cap bounds."""

    LANE = "lane"  # a tenant's jobs in a lane; the key is the lane
    FEATURE = "feature"  # a tenant's jobs of a feature, in all lanes together
    MODEL = "model"  # every tenant's calls of a model; the key is ``<provider>:<model>``


class Source(StrEnum):
    """Who set the limit that holds."""

    DEFAULT = "default"  # nobody: there is no limit
    PLAN = "plan"
    POLICY = "policy"  # the routing policy, for each user of a feature
    TENANT = "tenant"
    USER = "user"
    FEATURE = "feature"


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap as it stands, USD: its limit (None: there is none), what its window has spent, what is reserved."""

    scope: Scope
    key: str
    limit_usd: Decimal | None
    source: Source
    spent_usd: Decimal
    reserved_usd: Decimal

    @property
    def room_usd(self) -> Decimal | None:
        """What may still be reserved under this cap now; None: as much as you like."""
        return None if self.limit_usd is None else max(self.limit_usd - self.spent_usd - self.reserved_usd, Decimal(0))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A request rate that holds; ``per_minute`` None: there is none of this kind."""

    scope: Scope
    key: str
    per_minute: int | None
    source: Source


@dataclass(frozen=True, slots=True)
class Concurrency:
    """A concurrency cap as it stands: its slots, how many are taken, how many jobs wait for one."""

    scope: SlotScope
    key: str
    slots: int
    burst: bool  # it may be passed while threads of the fleet are idle
    lent: int  # slots beyond its own that it has for now, of idle threads
    taken: int  # above ``slots`` + ``lent`` while what ran when the cap was lowered ends
    waiting: int

    @property
    def free(self) -> int:
        """How many more may run now."""
        return max(self.slots + self.lent - self.taken, 0)


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """What a plan gives its tenants. ``user_share``: a user's default part of its tenant's cap, above 0 and up to 1."""

    name: str
    weight: Decimal
    daily_cost_cap_usd: Decimal
    user_share: Decimal
    user_per_minute: int | None
    tenant_per_minute: int | None


def set_cap(
    connection: Connection, tenant_id: UUID, scope: Scope, key: str, daily_usd: Decimal | None, *, actor: str
) -> None:
    """Set the cap of a tenant, one of its users or one of its features, USD a rolling 24 hours; None: the default.

    :raises InvalidInputError: it is no amount, or nothing that has a cap.
    :raises UnknownFeatureError: jobs cannot name this feature.
    :raises UnknownTenantError: there is no such tenant.
    """
    if scope is Scope.FEATURE_USER:
        raise InvalidInputError(
            "each user in a feature has no cap in dollars",
            field="daily_usd",
            hint="Cap the feature in all, or the user in all; requests a minute can be set for each user in a feature.",
        )
    if scope is Scope.USER and key == "":
        raise InvalidInputError(
            "all users of one tenant have no cap of their own",
            field="daily_usd",
            hint="A user's default is the plan's share of the tenant's cap: "
            "`headrace limits set-plan PLAN --user-share S`. Or cap one user.",
        )
    if daily_usd is not None:
        _check_usd(daily_usd, field="daily_usd")
    key = _checked_key(connection, scope, key, clears=daily_usd is None)
    if scope is Scope.TENANT:
        tenants.set_cap(connection, tenant_id, daily_usd, actor=actor)
        return
    facts = {"tenant_id": tenant_id, "scope": scope, "key": key, "target": _target(scope, key), "actor": actor}
    done = connection.execute(sql("money/limits", "set_cap"), {**facts, "daily_usd": daily_usd})
    _refuse_unknown_tenant(done.rowcount, tenant_id)


def set_rate(
    connection: Connection, tenant_id: UUID, scope: Scope, key: str, per_minute: int | None, *, actor: str
) -> None:
    """Set a tenant's own rate, requests a minute; None takes it away, so that the next in line holds.

    :raises InvalidInputError: it is no rate, or the key is none of this scope.
    :raises UnknownFeatureError: jobs cannot name this feature.
    :raises UnknownTenantError: there is no such tenant.
    """
    if per_minute is not None:
        _check_per_minute(per_minute, field="per_minute")
    key = _checked_key(connection, scope, key, clears=per_minute is None)
    facts = {"tenant_id": tenant_id, "scope": scope, "key": key, "target": _target(scope, key), "actor": actor}
    done = connection.execute(sql("money/limits", "set_rate"), {**facts, "per_minute": per_minute})
    _refuse_unknown_tenant(done.rowcount, tenant_id)


def set_plan(
    connection: Connection, plan: str, changes: Mapping[str, Decimal | int | None], *, actor: str
) -> TenantPlan:
    """Change some of a plan's limits for all its tenants; the plan as it is now.

    ``changes`` has the names of :class:`TenantPlan`'s fields. A rate of None is lifted.

    :raises InvalidInputError: there is no such plan or limit, or a value is out of range.
    """
    if not changes:
        raise InvalidInputError("nothing to change", field="changes", hint=f"One of: {', '.join(_PLAN_FIELDS)}.")
    for field, value in changes.items():
        _check_of_plan(field, value)
    given = {field: None if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)
             for field, value in changes.items()}  # fmt: skip
    row = connection.execute(
        sql("money/limits", "set_plan"), {"plan": plan, "changes": Jsonb(given), "actor": actor}
    ).fetchone()
    if row is None:
        known = [one.name for one in plans(connection)]
        raise InvalidInputError("no such plan", field="plan", value=plan, hint=names.did_you_mean(plan, known))
    return TenantPlan(**row)


def set_concurrency(
    connection: Connection,
    tenant_id: UUID | None,
    scope: SlotScope,
    key: str,
    slots: int | None,
    *,
    burst: bool | None = None,
    actor: str,
) -> None:
    """Let at most ``slots`` jobs run at once; 0: none, None: no such cap. No tenant: the cap of a model.

    ``burst``: more may, while threads of the fleet are idle (None: as it is; at first they may not).

    In effect at once. What runs already goes on and counts, so a cap below it lets nothing in until enough have ended.

    :raises InvalidInputError: it is no number of jobs, no such lane, or no model.
    :raises UnknownFeatureError: jobs cannot name this feature.
    :raises UnknownTenantError: there is no such tenant.
    """
    if slots is not None and (not isinstance(slots, int) or isinstance(slots, bool) or not 0 <= slots <= _MOST_SLOTS):
        hint = f"Give a whole number from 0 to {_MOST_SLOTS}; 0 lets nothing run."
        raise InvalidInputError("is no number of jobs at once", field="concurrent", value=slots, hint=hint)
    if (scope is SlotScope.MODEL) != (tenant_id is None):
        raise InvalidInputError("a model's cap holds for all tenants, any other for one", field="tenant_id")
    if burst and scope is SlotScope.MODEL:
        hint = "It bounds what the provider bears, which idle threads do not change."
        raise InvalidInputError("a model's cap is never passed", field="burst", value=burst, hint=hint)
    if slots is not None:
        key = _checked_slot_key(connection, scope, key)
    row = connection.execute(
        sql("money/limits", "set_concurrency"), [tenant_id, scope, key, slots, burst, actor]
    ).fetchone()
    if tenant_id is not None:
        _refuse_unknown_tenant(int(bool(row and row["known"])), tenant_id)


def concurrency(connection: Connection, tenant_id: UUID | None, *, feature: str | None = None) -> list[Concurrency]:
    """A tenant's concurrency caps as they stand, or those of models (no tenant); with ``feature`` only that one's."""
    rows = connection.execute(
        sql("money/limits", "concurrency"), {"tenant_id": tenant_id, "feature": feature}
    ).fetchall()
    return [Concurrency(**{**row, "scope": SlotScope(row["scope"])}) for row in rows]


def plans(connection: Connection) -> list[TenantPlan]:
    """Every plan with its limits, cheapest first."""
    return [TenantPlan(**row) for row in connection.execute(sql("money/limits", "plans")).fetchall()]


def caps(connection: Connection, tenant_id: UUID, *, user: str | None = None, feature: str | None = None) -> list[Cap]:
    """The tenant's cap, and those of every user and feature that has one or has spent: limits that were set come first,
    then whoever has spent most. With ``user`` or ``feature`` only of these.

    :raises InvalidInputError, UnknownFeatureError: as :func:`set_cap` does.
    """
    user, feature = _asked(connection, user, feature)
    rows = connection.execute(sql("money/limits", "caps"), {"tenant_id": tenant_id, "user": user, "feature": feature})
    return [Cap(**_told(row)) for row in rows.fetchall()]


def rates(
    connection: Connection, tenant_id: UUID, *, user: str | None = None, feature: str | None = None
) -> list[RateLimit]:
    """The tenant's request rates: of itself, of every user, and whatever was set for one user or one feature.

    With ``user`` or ``feature`` only of these; with both, those that bind a job of this user in this feature.

    :raises InvalidInputError, UnknownFeatureError: as :func:`set_rate` does.
    """
    user, feature = _asked(connection, user, feature)
    rows = connection.execute(sql("money/limits", "rates"), {"tenant_id": tenant_id, "user": user, "feature": feature})
    return [RateLimit(**_told(row)) for row in rows.fetchall()]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "scope": Scope(row["scope"]), "source": Source(row["source"])}


def _target(scope: Scope, key: str) -> str:
    """What the audit calls it. No user and no feature has an empty name."""
    if scope is Scope.TENANT:
        return "tenant"
    return f"{scope}:{key}" if key else "all_users"


def _asked(connection: Connection, user: str | None, feature: str | None) -> tuple[str | None, str | None]:
    return (
        None if user is None else names.clean_name(user, field="user"),
        None if feature is None else policy.known_feature(connection, feature),
    )


def _checked_key(connection: Connection, scope: Scope, key: str, *, clears: bool) -> str:
    """The key as it is kept. What was set for a feature that is retired since, or for what is no id, can still go."""
    if scope is Scope.TENANT:
        if key != "":
            raise InvalidInputError("a tenant's own limit has no key", field="key", value=key)
        return key
    if key != "" and clears:
        return names.compose(key)
    if scope is Scope.USER:
        return key if key == "" else names.clean_name(key, field="user")
    return policy.known_feature(connection, key)


def _checked_slot_key(connection: Connection, scope: SlotScope, key: str) -> str:
    if scope is SlotScope.FEATURE:
        return policy.known_feature(connection, key)
    if scope is SlotScope.LANE:
        return policy.known_lane(connection, key)
    known = sorted({f"{price.provider}:{price.model}" for price in prices.list_prices(connection, None)})
    if key not in known:
        hint = names.did_you_mean(key, known, more="`headrace prices list` shows all.")
        raise InvalidInputError("no such model", field="model", value=key, hint=hint)
    return key


def _check_of_plan(field: str, value: Decimal | int | None) -> None:
    if field not in _PLAN_FIELDS:
        raise InvalidInputError(
            "is no limit of a plan", field="changes", value=field, hint=f"One of: {', '.join(_PLAN_FIELDS)}."
        )
    if field in _PLAN_RATES:
        if value is not None:
            _check_per_minute(value, field=field)
    elif field in _PLAN_USD:
        _check_usd(value, field=field)
    elif not isinstance(value, Decimal) or not value.is_finite() or not 0 < value <= 1:
        raise InvalidInputError(
            "is no share", field=field, value=value, hint="A share is above 0 and up to 1: 0.2 is a fifth of the cap."
        )


def _check_usd(value: object, *, field: str) -> None:
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        raise InvalidInputError("is no amount of USD", field=field, value=value, hint="Give a Decimal of 0 or more.")


def _check_per_minute(value: object, *, field: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_PER_MINUTE:
        raise InvalidInputError(
            "is no number of requests a minute", field=field, value=value, hint="Give a whole number of 1 or more."
        )


def _refuse_unknown_tenant(written: int, tenant_id: UUID) -> None:
    if written == 0:
        raise UnknownTenantError(field="tenant_id", value=str(tenant_id), hint="`headrace tenants list` shows all.")
