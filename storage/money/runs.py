"""Runs: one row for each call on the wire, written before the call and priced after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from storage.db.connect import Connection
from storage.db.reading import as_row_of
from storage.db.statements import sql


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call that is about to be made: what it is for, where it goes, how much it may use at most (tokens)."""

    run_id: UUID
    kind: str  # answer | classify | judge | embed
    provider: str
    model: str
    tier: str
    route_rule: str
    fallback: bool
    input_bound: int
    max_output_tokens: int
    min_output_tokens: int | None
    prompt_id: UUID | None
    key_owner: str = "platform"
    processing: str = "standard"  # or batch: a provider's own batch, at its discount


@dataclass(frozen=True, slots=True)
class Grant:
    """What ``begin`` answered. Amounts in USD. Verdicts are told in ``storage/money/functions/begin.sql``."""

    verdict: str
    reserved_usd: Decimal | None
    max_output_tokens: int | None
    cap_scope: str | None
    cap_key: str | None
    limit_usd: Decimal | None
    spent_usd: Decimal | None
    others_reserved_usd: Decimal | None
    room_at: datetime | None
    remaining_s: float | None


def begin(
    connection: Connection,
    tenant_id: UUID,
    job_id: UUID,
    claim_id: UUID,
    call: PlannedCall,
    later: Sequence[PlannedCall] = (),
) -> Grant:
    """Check the caps, reserve the worst case of ``call`` and of the plan's ``later`` calls, write the run."""
    row = connection.execute(
        sql("money/runs", "begin"),
        {
            **asdict(call),
            "tenant_id": tenant_id,
            "job_id": job_id,
            "claim_id": claim_id,
            "later": Jsonb(later_calls(later)),
        },
    ).fetchone()
    assert row is not None, "a function with OUT parameters returns a row"
    row["remaining_s"] = None if row["remaining_s"] is None else float(row["remaining_s"])
    return as_row_of(Grant, row)


def later_calls(calls: Sequence[PlannedCall]) -> list[dict[str, Any]]:
    """A plan's later calls as ``begin`` takes them: only their worst cases matter."""
    return [
        {
            "provider": one.provider,
            "model": one.model,
            "input_bound": one.input_bound,
            "max_output_tokens": one.max_output_tokens,
        }
        for one in calls
    ]


def of_job(connection: Connection, tenant_id: UUID, job_id: UUID) -> list[Mapping[str, Any]]:
    """Every run of a job, oldest first."""
    return list(connection.execute(sql("money/runs", "of_job"), {"job_id": job_id, "tenant_id": tenant_id}).fetchall())
