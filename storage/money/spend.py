"""What was spent: the daily rollup, the windows of the caps, and what was reserved against what was billed.

The rollup (``spend_daily``) has whole UTC days, each call in the day of its start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal, Inexact
from enum import StrEnum
from functools import reduce
from typing import TypeAlias
from uuid import UUID

from psycopg.types.json import Jsonb

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.money.spend_forecast import CapWindow
from storage.money.spend_unusual import FLOOR_USD, LOOK_BACK_DAYS, usual_spend

_EXACT = Context(prec=1000, traps=[Inexact])  # Python's own 28 digits would round a long sum without a word


class By(StrEnum):
    """What a row of spend is of. A user belongs to a tenant and a model to a provider, which are told with them."""

    DAY = "day"
    TENANT = "tenant"
    USER = "user"
    FEATURE = "feature"
    PROMPT = "prompt"
    PROVIDER = "provider"
    MODEL = "model"
    KEY = "key"


_NAMES: Mapping[By, tuple[str, ...]] = {
    By.DAY: ("day",),
    By.TENANT: ("tenant", "tenant_id"),
    By.USER: ("user",),
    By.FEATURE: ("feature",),
    By.PROMPT: ("prompt", "version", "prompt_id"),
    By.PROVIDER: ("provider",),
    By.MODEL: ("model",),
    By.KEY: ("key_owner",),
}
_BELONGS_TO = {By.USER: By.TENANT, By.MODEL: By.PROVIDER}


@dataclass(frozen=True, slots=True)
class Spend:
    """What some calls came to, USD, exact. ``of`` says whose they are (``{"tenant": …, "tenant_id": …}``).

    ``input_tokens`` is all input, ``cached_input_tokens`` the part of it that came from the provider's cache.
    ``over_calls`` were billed beyond what was reserved for them, by ``over_reserved_usd`` in all.
    """

    of: Mapping[str, date | str | int | None]
    calls: int
    failed_calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    reserved_usd: Decimal
    over_calls: int
    over_reserved_usd: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model's calls: what was reserved against what was billed, USD; ratios are billed / reserved, to a millionth.

    ``calls`` are those that were billed by their tokens. Refused ones cost nothing, and unknown ones what was reserved
    for them (``unknown_usd``); neither says how good the estimate is. A ratio is None when there is nothing to divide.
    """

    provider: str
    model: str
    calls: int
    reserved_usd: Decimal
    cost_usd: Decimal
    ratio: Decimal | None
    ratio_p50: Decimal | None
    ratio_p95: Decimal | None
    ratio_max: Decimal | None
    over_calls: int
    over_reserved_usd: Decimal
    refused_calls: int
    unknown_calls: int
    unknown_usd: Decimal


Spender: TypeAlias = tuple[UUID, str, str]
"""Somebody who spends: a tenant, ``user`` or ``feature``, and which."""


@dataclass(frozen=True, slots=True)
class SpenderDay:
    """What a ``user`` or a ``feature`` (the scope; ``key`` says which) of a tenant spent on a UTC day, USD."""

    day: date
    tenant_id: UUID
    tenant: str
    scope: str
    key: str
    spent_usd: Decimal


@dataclass(frozen=True, slots=True)
class Unusual:
    """A day that is far over its spender's history.

    More than ``bound_usd`` was unusual after ``days`` days with spend and this median, USD.
    """

    what: SpenderDay
    median_usd: Decimal
    bound_usd: Decimal
    days: int


FIGURES = tuple(name for name in Spend.__dataclass_fields__ if name != "of")
"""The names of what a row of spend tells besides whose it is."""


def names(by: Collection[By]) -> tuple[str, ...]:
    """The names in ``of`` when spend is told by these, in the order in which columns stand."""
    return tuple(name for one in By if one in _whole(by) for name in _NAMES[one])


def rollup(
    connection: Connection, by: Collection[By], *, since: date, until: date, tenant_id: UUID | None = None
) -> list[Spend]:
    """Spend of whole days (both included), a row a combination: the oldest day first, within a day the dearest."""
    asked = {f"by_{one}": one in _whole(by) for one in By}
    rows = connection.execute(
        sql("money/spend", "rollup"), {**asked, "since": since, "until": until, "tenant_id": tenant_id}
    ).fetchall()
    return [Spend(of={name: row[name] for name in names(by)}, **{name: row[name] for name in FIGURES}) for row in rows]


def _whole(by: Collection[By]) -> set[By]:
    return {*by} | {_BELONGS_TO[one] for one in by if one in _BELONGS_TO}


def total(rows: Sequence[Spend]) -> Spend:
    """The sum of some rows."""
    return Spend(
        of={},
        calls=sum(row.calls for row in rows),
        failed_calls=sum(row.failed_calls for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        cached_input_tokens=sum(row.cached_input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost_usd=exact_sum(row.cost_usd for row in rows),
        reserved_usd=exact_sum(row.reserved_usd for row in rows),
        over_calls=sum(row.over_calls for row in rows),
        over_reserved_usd=exact_sum(row.over_reserved_usd for row in rows),
    )


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum to the last digit. Raises :class:`decimal.Inexact` rather than round (beyond 1000 digits)."""
    return reduce(_EXACT.add, amounts, Decimal(0))


def windows(connection: Connection, *, tenant_id: UUID | None = None) -> list[CapWindow]:
    """Every tenant's cap as it stands now (or one tenant's), by name."""
    rows = connection.execute(sql("money/spend", "windows"), {"tenant_id": tenant_id}).fetchall()
    return [
        CapWindow(
            tenant_id=row["tenant_id"],
            tenant=row["tenant"],
            now=row["now"],
            limit_usd=row["limit_usd"],
            spent_usd=row["spent_usd"],
            reserved_usd=row["reserved_usd"],
            buckets=dict(zip(row["hours"], row["amounts_usd"], strict=True)),
        )
        for row in rows
    ]


def estimates(connection: Connection, *, since: date) -> list[Estimate]:
    """What was reserved against what was billed since a UTC day, a row a model."""
    return [Estimate(**row) for row in connection.execute(sql("money/spend", "estimates"), {"since": since}).fetchall()]


def unusual(connection: Connection, *, since: date | None = None) -> list[Unusual]:
    """The days since one (today alone, without one) on which somebody spent far over its history, newest first.

    ``storage/money/spend_unusual.py`` has the rule.
    """
    candidates = over_floor(connection, since=since)
    if not candidates:
        return []
    look_back = timedelta(days=LOOK_BACK_DAYS)
    spenders = dict.fromkeys((one.tenant_id, one.scope, one.key) for one in candidates)
    past = history(connection, spenders, since=min(one.day for one in candidates) - look_back)
    found = []
    for one in candidates:
        days = past[one.tenant_id, one.scope, one.key]
        was = usual_spend([usd for day, usd in days if one.day - look_back <= day < one.day])
        if was is not None and one.spent_usd > was.bound_usd:
            found.append(Unusual(one, median_usd=was.median_usd, bound_usd=was.bound_usd, days=was.days))
    return found


def over_floor(connection: Connection, *, since: date | None) -> list[SpenderDay]:
    """The days since one (today alone, without one) on which somebody spent so much that a look is worth it."""
    rows = connection.execute(sql("money/spend", "over_floor"), {"since": since, "floor_usd": FLOOR_USD}).fetchall()
    return [SpenderDay(**row) for row in rows]


def history(
    connection: Connection, spenders: Collection[Spender], *, since: date
) -> Mapping[Spender, Sequence[tuple[date, Decimal]]]:
    """What each spent on its days with spend since a day, USD, oldest first."""
    tenant_ids, scopes, keys = zip(*spenders, strict=True)
    rows = connection.execute(
        sql("money/spend", "history"),
        {"tenant_ids": list(tenant_ids), "scopes": list(scopes), "keys": list(keys), "since": since},
    ).fetchall()
    found: dict[Spender, list[tuple[date, Decimal]]] = {one: [] for one in spenders}
    for row in rows:
        found[row["tenant_id"], row["scope"], row["key"]].append((row["day"], row["usd"]))
    return found


def flag_unusual(connection: Connection) -> list[Unusual]:
    """Leave a notice in the outbox (topic ``spend.unusual``) for all that is unusual today; those that are new.

    One a day for a user or a feature of a tenant, however often and by however many this is called: while another is
    at it, nothing is done. As headrace_ops. It is one transaction, or a part of the caller's.
    """
    with connection.transaction():
        if not one_flags(connection):
            return []
        found = {(one.what.tenant_id, one.what.scope, one.what.key): one for one in unusual(connection)}
        notices = [{"tenant_id": str(tenant_id), "payload": _payload(one)} for (tenant_id, *_), one in found.items()]
        rows = connection.execute(sql("money/spend", "flag_unusual"), {"notices": Jsonb(notices)}).fetchall()
    return [found[row["tenant_id"], row["scope"], row["key"]] for row in rows]


def one_flags(connection: Connection) -> bool:
    """Whether this transaction is the one that flags unusual spend now."""
    row = connection.execute(sql("money/spend", "one_flags")).fetchone()
    return bool(row and row["mine"])


def _payload(one: Unusual) -> dict[str, str]:
    """Amounts are text, so that no reader makes a float of them."""
    return {
        "scope": one.what.scope,
        "key": one.what.key,
        "day": one.what.day.isoformat(),
        "spent_usd": f"{one.what.spent_usd:f}",
        "median_usd": f"{one.median_usd:f}",
        "bound_usd": f"{one.bound_usd:f}",
    }
