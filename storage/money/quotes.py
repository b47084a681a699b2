"""What a job would meet, looked up before it exists. Nothing here writes or locks (``functions/quote*.sql``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.money.rates import Rate
from storage.money.runs import PlannedCall


@dataclass(frozen=True, slots=True)
class RequestLook:
    """A request as a claim would find it. With an ``error`` it is refused and the rest says nothing.

    ``job_id``: the job that has its idempotency key already. ``plan``: the tenant's. ``rank``: where it would stand.
    """

    error: Mapping[str, Any] | None
    job_id: UUID | None
    rank: int
    plan: str
    prompt_id: UUID | None
    feature: str
    variables: Mapping[str, str] | None
    messages: Sequence[Mapping[str, str]] | None
    context: Any
    output_schema: Mapping[str, Any] | None
    max_output_tokens: int | None
    force_tier: str | None


@dataclass(frozen=True, slots=True)
class CapLook:
    """One cap as it stands, USD; ``limit_usd`` and ``room_usd`` None: there is no limit."""

    scope: str
    key: str
    limit_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal
    room_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Fit:
    """How a call fits under one cap: ``now``, ``once_settled`` (others have to), ``over_budget`` (with ``room_at``)."""

    fit: str
    room_at: datetime | None


@dataclass(frozen=True, slots=True)
class CallLook:
    """What ``begin`` would say to one call: granted | over_budget | wait_for_room | unpriced.

    ``worst_case_usd`` is what it would reserve with an answer of ``max_output_tokens``, ``need_usd`` the least that has
    to fit; ``cap``: which of the caps says so. ``fits``: one for each cap.
    """

    verdict: str
    worst_case_usd: Decimal | None
    max_output_tokens: int
    need_usd: Decimal | None
    cap: int | None
    fits: tuple[Fit, ...]


@dataclass(frozen=True, slots=True)
class MoneyLook:
    """What would hold some calls up. ``paused``: those that are of tenant, lane and feature."""

    at: datetime
    paused: tuple[str, ...]
    caps: tuple[CapLook, ...]
    rates: tuple[Rate, ...]
    calls: tuple[CallLook, ...]


def requests(connection: Connection, tenant_id: UUID, rows: Sequence[Mapping[str, Any]]) -> list[RequestLook]:
    """Check requests as ``headrace.enqueue_batch`` would, and find what a claim would find, all in one look."""
    found = connection.execute(sql("money/quotes", "requests"), [tenant_id, Jsonb(list(rows))]).fetchall()
    return [
        RequestLook(
            error=said["error"],
            job_id=said["job_id"],
            rank=said["rank"],
            plan=said["plan"],
            prompt_id=said["prompt_id"],
            feature=row["feature"],
            variables=row.get("variables", {}) if row.get("prompt") is not None else None,
            messages=row.get("messages"),
            context=said["context"],
            output_schema=said["output_schema"],
            max_output_tokens=row.get("max_output_tokens"),
            force_tier=row.get("force_tier"),
        )
        for said, row in zip(found, rows, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class JobLook:
    """A job that does not exist yet, and the calls that are planned for it."""

    id: UUID
    user_id: str
    feature: str
    lane: str
    rank: int
    planned: Sequence[PlannedCall]


def calls_of_many(connection: Connection, tenant_id: UUID, looks: Sequence[JobLook]) -> list[MoneyLook]:
    """:func:`calls` for many jobs of a tenant, in one look."""
    facts = [
        {
            "id": str(one.id),
            "user_id": one.user_id,
            "feature": one.feature,
            "lane": one.lane,
            "rank": one.rank,
            "calls": _planned(one.planned),
        }
        for one in looks
    ]
    rows = connection.execute(sql("money/quotes", "calls_of_many"), [tenant_id, Jsonb(facts)]).fetchall()
    shared = {row["n"]: _money(row["look"]) for row in rows if row["look"] is not None}
    of_users: dict[tuple[int, str], MoneyLook] = {}
    told: list[MoneyLook] = []
    for row, one in zip(rows, looks, strict=True):
        if row["own"] is not None:
            told.append(_money(row["own"]))
            continue
        alike: int = row["alike"]
        look = of_users.get((alike, one.user_id))
        if look is None:
            look = of_users[alike, one.user_id] = _of_user(shared[alike], looks[alike].user_id, one.user_id)
        told.append(_granted(look, one.planned, row["worst_usd"]))
    return told


def calls(
    connection: Connection,
    tenant_id: UUID,
    job_id: UUID,
    *,
    user_id: str,
    feature: str,
    lane: str,
    rank: int,
    planned: Sequence[PlannedCall],
) -> MoneyLook:
    """What the caps, the rates and the prices say now to these calls of a job that would have this id."""
    row = connection.execute(
        sql("money/quotes", "calls"), [tenant_id, job_id, user_id, feature, lane, rank, Jsonb(_planned(planned))]
    ).fetchone()
    assert row is not None, "the function returns one row"
    return _money(row["quote"])


def _planned(calls: Sequence[PlannedCall]) -> list[dict[str, Any]]:
    return [
        {
            "provider": one.provider,
            "model": one.model,
            "input_bound": one.input_bound,
            "max_output_tokens": one.max_output_tokens,
            "min_output_tokens": one.min_output_tokens,
        }
        for one in calls
    ]


def _money(said: Mapping[str, Any]) -> MoneyLook:
    return MoneyLook(
        at=datetime.fromisoformat(said["at"]),
        paused=tuple(said["paused"]),
        caps=tuple(_cap(one) for one in said["caps"]),
        rates=tuple(Rate(**one) for one in said["rates"]),
        calls=tuple(_call(one) for one in said["calls"]),
    )


def _of_user(look: MoneyLook, user_id: str, other: str) -> MoneyLook:
    """The look of another user of whom nothing is kept either: the same but for the id in its keys."""
    if user_id == other:
        return look
    return replace(
        look,
        caps=tuple(replace(cap, key=other) if cap.scope == "user" else cap for cap in look.caps),
        rates=tuple(
            replace(rate, key=rate.key.removesuffix(user_id) + other)
            if rate.scope in ("user", "feature_user")
            else rate
            for rate in look.rates
        ),
    )


def _granted(look: MoneyLook, planned: Sequence[PlannedCall], worst_usd: Sequence[Decimal]) -> MoneyLook:
    """The look of a job whose calls all fit under every cap, in full."""
    fits = tuple(Fit("now", None) for _ in look.caps)
    calls = (
        CallLook(
            verdict="granted",
            worst_case_usd=worst,
            max_output_tokens=one.max_output_tokens,
            need_usd=None,  # only what does not fit is told of
            cap=None,
            fits=fits,
        )
        for one, worst in zip(planned, worst_usd, strict=True)
    )
    return replace(look, calls=tuple(calls))


def _cap(said: Mapping[str, Any]) -> CapLook:
    return CapLook(
        scope=said["scope"],
        key=said["key"],
        limit_usd=_usd(said["limit_usd"]),
        spent_usd=Decimal(said["spent_usd"]),
        reserved_usd=Decimal(said["reserved_usd"]),
        room_usd=_usd(said["room_usd"]),
    )


def _call(said: Mapping[str, Any]) -> CallLook:
    return CallLook(
        verdict=said["verdict"],
        worst_case_usd=_usd(said.get("worst_case_usd")),
        max_output_tokens=said["max_output_tokens"],
        need_usd=_usd(said.get("need_usd")),
        cap=said.get("cap"),
        fits=tuple(Fit(one["fit"], _instant(one["room_at"])) for one in said["fits"]),
    )


def _usd(said: str | None) -> Decimal | None:
    return None if said is None else Decimal(said)


def _instant(said: str | None) -> datetime | None:
    return None if said is None else datetime.fromisoformat(said)
