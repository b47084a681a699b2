"""What a job would meet, looked up before it exists. Nothing here writes or locks (``functions/money/quote.sql``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from storage.connect import Connection
from storage.rates import Rate
from storage.runs import PlannedCall
from storage.statements import sql


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


def request(connection: Connection, tenant_id: UUID, row: Mapping[str, Any]) -> RequestLook:
    """Check a request as ``headrace.enqueue_batch`` would, and find what a claim would find."""
    found = connection.execute(sql("quotes", "request"), [tenant_id, Jsonb(dict(row))]).fetchone()
    assert found is not None, "the function returns one row"
    return RequestLook(**found)


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
    facts = [
        {
            "provider": one.provider,
            "model": one.model,
            "input_bound": one.input_bound,
            "max_output_tokens": one.max_output_tokens,
            "min_output_tokens": one.min_output_tokens,
        }
        for one in planned
    ]
    row = connection.execute(
        sql("quotes", "calls"), [tenant_id, job_id, user_id, feature, lane, rank, Jsonb(facts)]
    ).fetchone()
    assert row is not None, "the function returns one row"
    said = row["quote"]
    return MoneyLook(
        at=datetime.fromisoformat(said["at"]),
        paused=tuple(said["paused"]),
        caps=tuple(_cap(one) for one in said["caps"]),
        rates=tuple(Rate(**one) for one in said["rates"]),
        calls=tuple(_call(one) for one in said["calls"]),
    )


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
