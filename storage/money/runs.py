"""Runs: one row for each call on the wire, written before the call and priced after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
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
class Granted:
    """The call may be made. ``reserved_usd`` is held for it; its answer may have ``max_output_tokens``."""

    reserved_usd: Decimal
    max_output_tokens: int
    remaining_s: float | None  # until the job's deadline, s; None without one

    verdict = "granted"


@dataclass(frozen=True, slots=True)
class OverBudget:
    """The job's own worst case does not fit under a cap, whatever others settle. Amounts in USD.

    ``need_usd``: what the job has to reserve at the least. ``room_at``: when the cap's window will have freed as much;
    None when it never will.
    """

    cap_scope: str
    cap_key: str
    need_usd: Decimal
    limit_usd: Decimal
    spent_usd: Decimal
    others_reserved_usd: Decimal
    room_at: datetime | None

    verdict = "over_budget"


@dataclass(frozen=True, slots=True)
class WaitForRoom:
    """Only others' reservations stand in the way, or another job's turn under that cap comes first. Amounts in USD.

    ``need_usd``: what the job has to reserve at the least.
    """

    cap_scope: str
    cap_key: str
    need_usd: Decimal
    limit_usd: Decimal
    spent_usd: Decimal
    others_reserved_usd: Decimal

    verdict = "wait_for_room"


@dataclass(frozen=True, slots=True)
class NoSlot:
    """As many calls of this model are under way as its concurrency cap allows."""

    cap_scope: str
    cap_key: str

    verdict = "no_slot"


@dataclass(frozen=True, slots=True)
class Unpriced:
    """No price is known for the model, so nothing can be reserved."""

    verdict = "unpriced"


@dataclass(frozen=True, slots=True)
class JobCancelled:
    """The job was asked to stop before its call."""

    verdict = "cancelled"


@dataclass(frozen=True, slots=True)
class JobExpired:
    """The job's deadline passed before its call."""

    verdict = "expired"


@dataclass(frozen=True, slots=True)
class ClaimLost:
    """The job is no longer this claim's."""

    verdict = "lost"


NotGranted: TypeAlias = OverBudget | WaitForRoom | NoSlot | Unpriced | JobCancelled | JobExpired | ClaimLost
Grant: TypeAlias = Granted | NotGranted
"""What ``begin`` answers. Each ``verdict`` is explained in ``storage/money/functions/begin.sql``."""


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
    return granted(row)


def granted(row: dict[str, Any]) -> Grant:
    """What a row of ``begin`` says; columns that are not known here are left out (:func:`as_row_of` says why)."""
    match row["verdict"]:
        case Granted.verdict:
            remaining_s = None if row["remaining_s"] is None else float(row["remaining_s"])
            return Granted(row["reserved_usd"], row["max_output_tokens"], remaining_s)
        case OverBudget.verdict:
            return as_row_of(OverBudget, row | {"need_usd": row["reserved_usd"]})
        case WaitForRoom.verdict:
            return as_row_of(WaitForRoom, row | {"need_usd": row["reserved_usd"]})
        case NoSlot.verdict:
            return NoSlot(row["cap_scope"], row["cap_key"])
        case verdict:
            return _WITHOUT_FACTS[verdict]()


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


_WITHOUT_FACTS: Final = {one.verdict: one for one in (Unpriced, JobCancelled, JobExpired, ClaimLost)}
