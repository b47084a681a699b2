"""Jobs: what is asked for, what came of it. Each transaction is an SQL function (``functions/``)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import args_row, tuple_row
from psycopg.sql import SQL, Composed, Identifier
from psycopg.types.json import Jsonb

from storage.db.connect import Connection
from storage.db.reading import Unreadable, as_row_of
from storage.db.statements import sql
from storage.db.storable import storable
from storage.jobs.given import unreadable_fields
from storage.money.rates import Rate

if TYPE_CHECKING:
    from storage.jobs.selection import Selection


class State(StrEnum):
    """Where a job stands. The first three are live (a row in ``queue``), the others are endings."""

    SCHEDULED = "scheduled"  # runnable later; the row says why and when
    QUEUED = "queued"  # runnable
    RUNNING = "running"  # claimed
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # attempts used up or a permanent error: the dead letters
    REJECTED = "rejected"  # a guard refused
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # past its deadline

    @property
    def ended(self) -> bool:
        """Whether this is an ending."""
        return self not in (State.SCHEDULED, State.QUEUED, State.RUNNING)


REFUSED_SQLSTATE = "HR400"  # what headrace.enqueue raises for a request that it refuses
_EMPTY: Final[Mapping[str, Any]] = {"metadata": {}}  # of a field that cannot be read; of all others None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of one request of a batch: an id, or the reason why it was refused."""

    index: int
    job_id: UUID | None
    created: bool
    lane: str | None  # where a turn is to be offered; None when nothing became runnable
    error: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that this claim holds, with all that the pipeline needs to run it. Times in seconds from the claim."""

    job_id: UUID
    user_id: str
    feature: str
    attempt: int
    rank: int
    estimated_tokens: int
    plan: str
    weight: float
    prompt_id: UUID | None
    variables: Mapping[str, str] | None
    messages: Sequence[Mapping[str, str]] | None
    context: Any
    output_schema: Mapping[str, Any] | None
    max_output_tokens: int | None
    on_over_budget: str
    on_unknown: str
    force_tier: str | None
    metadata: Mapping[str, Any]
    rates: Sequence[Rate]  # that bind it
    remaining_s: float | None  # until its deadline
    held_s: float | None  # since a provider's fault first made it wait, without an attempt in between
    queued_s: float
    more: bool  # W or more are still queued
    output_fault: str | None = None  # what was wrong with its last answer, if it has to be asked again for that
    unreadable: Mapping[str, str] = field(default_factory=dict)  # field → why; it stands empty here


@dataclass(frozen=True, slots=True)
class Stopped:
    """A claim that found work and no free slot for it; ``by``: the concurrency cap, as ``slots.cap_key`` has it."""

    by: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a job, and the turns to offer now: (tenant, lane) of each that a freed slot lets in."""

    state: str
    offers: tuple[tuple[UUID, str], ...] = ()

    @classmethod
    def of_row(cls, state: str, offers: Sequence[Mapping[str, str]] | None) -> Settled:
        """As ``settle`` returns it."""
        return cls(state, tuple((UUID(one["tenant_id"]), one["lane"]) for one in offers or ()))


def enqueue_batch(
    connection: Connection, tenant_id: UUID, requests: Sequence[Mapping[str, Any]], *, wake: bool
) -> list[Enqueued]:
    """Insert many jobs of one tenant; refused ones come back with their reason. ``wake``: leave a scheduler's note."""
    with connection.cursor(row_factory=args_row(Enqueued)) as cursor:
        done = cursor.execute(sql("jobs/jobs", "enqueue_batch"), [tenant_id, Jsonb(list(requests)), wake]).fetchall()
    return sorted(done, key=attrgetter("index"))


@dataclass(frozen=True, slots=True)
class Live:
    """How many jobs of a tenant are queued and how many run in a lane, each counted up to a limit."""

    queued: int
    running: int


def live_up_to(
    connection: Connection, pairs: Collection[tuple[UUID, str]], *, queued: int, running: int
) -> dict[tuple[UUID, str], Live]:
    """What each (tenant, lane) has, counted no further than ``queued`` and ``running``."""
    tenants, lanes = [tenant for tenant, _ in pairs], [lane for _, lane in pairs]
    limits = {"tenants": tenants, "lanes": lanes, "queued": queued, "running": running}
    rows = connection.execute(sql("jobs/jobs", "live_up_to"), limits).fetchall()
    return {(row["tenant_id"], row["lane"]): Live(row["queued"], row["running"]) for row in rows}


def enqueue_in(connection: Any, tenant_id: UUID, request: Mapping[str, Any]) -> Enqueued:
    """Insert one job in the caller's own transaction: any psycopg connection that may call headrace.enqueue."""
    facts = {"tenant_id": tenant_id, "request": Jsonb(dict(request))}
    with connection.cursor(row_factory=tuple_row) as cursor:
        try:
            cursor.execute(_enqueue_call(tuple(request)), facts)
        except psycopg.Error as error:
            if error.sqlstate != REFUSED_SQLSTATE:
                raise
            return Enqueued(0, None, False, None, json.loads(error.diag.message_detail or "{}"))
        (job_id,) = cursor.fetchone()
    return Enqueued(0, job_id, True, None, None)


@cache
def _enqueue_call(fields: tuple[str, ...]) -> Composed:
    """``headrace.enqueue`` with these fields of a request: its arguments have their names, and the view their types."""
    arguments = SQL(", ").join(SQL("{0} => r.{0}").format(Identifier(name)) for name in fields)
    return SQL(
        "select headrace.enqueue(tenant_id => %(tenant_id)s, {})"
        " from jsonb_populate_record(null::headrace.job_request, %(request)s) r"
    ).format(arguments)


def claim(
    connection: Connection,
    tenant_id: UUID,
    lane: str,
    *,
    claim_id: UUID,
    worker_id: UUID,
    timeout_s: float,
    turns_per_tenant: int,
    repeat: bool = False,
) -> ClaimedJob | Stopped | None:
    """Claim the tenant's next job of a lane; None when there is none to run."""
    row = connection.execute(
        sql("jobs/jobs", "claim"), [tenant_id, lane, claim_id, worker_id, timeout_s, turns_per_tenant, repeat]
    ).fetchone()
    return None if row is None else claimed(row)


def claimed(row: dict[str, Any]) -> ClaimedJob | Stopped:
    """What a row of ``claim`` says; ids may be texts, as they are in JSON."""
    stopped_by = row.pop("stopped_by")
    if stopped_by is not None:
        return Stopped(stopped_by)
    for name in ("job_id", "prompt_id"):
        if isinstance(row[name], str):
            row[name] = UUID(row[name])
    for name in ("weight", "remaining_s", "held_s", "queued_s"):
        if row[name] is not None:
            row[name] = float(row[name])  # in JSON, an endless time is a text
    row["rates"] = tuple(Rate(**one) for one in row["rates"] or ())
    unreadable = unreadable_fields(row)
    return as_row_of(ClaimedJob, row | {name: _EMPTY.get(name) for name in unreadable} | {"unreadable": unreadable})


def settle(
    connection: Connection,
    tenant_id: UUID,
    job_id: UUID,
    claim_id: UUID,
    *,
    run: Mapping[str, Any] | str | None,
    verdict: str,
    outcome: Mapping[str, Any] | str,
) -> Settled:
    """Carry out a verdict; see ``storage/jobs/functions/settle.sql`` for verdicts, outcomes and what is returned.

    Run and outcome as they are, or as JSON that :func:`storage.db.storable.storable` has written.
    """
    facts = [tenant_id, job_id, claim_id, None if run is None else _written(run), verdict, _written(outcome)]
    row = connection.execute(sql("jobs/jobs", "settle"), facts).fetchone()
    assert row is not None, "a function with OUT parameters returns a row"
    return Settled.of_row(**row)


def _written(facts: Mapping[str, Any] | str) -> str:
    return facts if isinstance(facts, str) else storable(dict(facts))


@dataclass(frozen=True, slots=True)
class JobView:
    """One job as its owner sees it: state, outcome, answer and what its runs cost (USD)."""

    id: UUID
    tenant_id: UUID
    user_id: str
    feature: str
    lane: str
    state: State
    reason: str | None
    error: Mapping[str, Any] | None
    attempts: int
    run_at: datetime | None
    deadline: datetime | None
    created_at: datetime
    ended_at: datetime | None
    output: str | None
    output_json: Any
    finish: str | None
    simulated: bool | None  # whether the simulator made the answer up; None without an answer
    asked_again_as: UUID | None  # the job that asks for this one anew
    repeats: UUID | None  # the ended job that this one asks for anew
    cost_usd: Any  # Decimal
    unreadable: Mapping[str, str] = field(default_factory=dict)  # what is kept and Python cannot hold → why; None here


def tenant_of(connection: Connection, job_id: UUID) -> UUID | None:
    """Whose job it is, or None when there is none that this connection may see. An id belongs to one tenant."""
    row = connection.execute(sql("jobs/jobs", "tenant_of"), [job_id]).fetchone()
    return row["tenant_id"] if row else None


def show(connection: Connection, job_id: UUID, *, tenant_id: UUID | None = None) -> JobView | None:
    """One job, or None when there is none that this connection may see. Without ``tenant_id`` it is looked up first."""
    whose = tenant_id or tenant_of(connection, job_id)
    row = connection.execute(sql("jobs/jobs", "show"), {"job_id": job_id, "tenant_id": whose}).fetchone()
    if row is None:
        return None
    unreadable = {name: value.why for name, value in row.items() if isinstance(value, Unreadable)}
    row |= dict.fromkeys(unreadable)
    return JobView(**{**row, "state": State(row["state"])}, unreadable=unreadable)


def by_prefix(connection: Connection, *, first: UUID, last: UUID, limit: int) -> list[UUID]:
    """The ids of jobs from ``first`` to ``last``, the oldest first: those that begin with the same digits."""
    rows = connection.execute(sql("jobs/jobs", "by_prefix"), {"first": first, "last": last, "limit": limit}).fetchall()
    return [row["id"] for row in rows]


def list_jobs(connection: Connection, chosen: Selection, *, limit: int) -> list[dict[str, Any]]:
    """The newest jobs of those that are chosen, newest first."""
    after, before = chosen.range()
    return connection.execute(
        sql("jobs/jobs", "list"), {**chosen.facts(), "after": after, "before": before, "limit": limit}
    ).fetchall()


def history(connection: Connection, job_id: UUID, *, tenant_id: UUID | None = None) -> list[dict[str, Any]]:
    """All that happened to a job, oldest first: events and calls as ``at``, ``what``, ``detail``.

    Without ``tenant_id`` it is looked up first.
    """
    whose = tenant_id or tenant_of(connection, job_id)
    entries = connection.execute(sql("jobs/jobs", "history"), {"job_id": job_id, "tenant_id": whose}).fetchall()
    for entry in entries:
        if isinstance(entry["detail"], Unreadable):
            entry["detail"] = {"unreadable": entry["detail"].why}
    return entries


def cancel(connection: Connection, tenant_id: UUID, job_id: UUID, *, by: str) -> str | None:
    """Cancel a job: ``cancelled``, ``cancelling`` (it runs), the ending it already had, or None (no such job)."""
    row = connection.execute(sql("jobs/jobs", "cancel"), [tenant_id, job_id, by]).fetchone()
    return row["cancelled"] if row else None


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The job that asks for an ended one anew, and its lane. ``created``: it was made now, else it was there before."""

    job_id: UUID
    lane: str
    created: bool


def run_again(connection: Connection, tenant_id: UUID, job_id: UUID, new_id: UUID, *, by: str) -> AskedAgain | None:
    """Ask an ended job anew as job ``new_id``, unless that was done before; None when it cannot be asked again.

    Safe to repeat, and to race: there is one new job.
    """
    row = connection.execute(sql("jobs/jobs", "run_again"), [tenant_id, job_id, new_id, by]).fetchone()
    return AskedAgain(**row) if row else None


def cancel_free(
    connection: Connection, tenant_ids: Sequence[UUID], ids: Sequence[UUID], *, by: str
) -> dict[UUID, str | None]:
    """What :func:`cancel` says of these jobs, all in one transaction.

    A job that another transaction holds just now is left as it is, and is not among them: cancel it alone.
    """
    facts = {"tenant_ids": list(tenant_ids), "ids": list(ids), "by": by}
    return {
        row["id"]: row["cancelled"] for row in connection.execute(sql("jobs/jobs", "cancel_free"), facts).fetchall()
    }


@dataclass(frozen=True, slots=True)
class Repeated:
    """An ended job, and the job that asks for it anew. ``created``: that one is new, else it was there before."""

    repeats: UUID
    tenant_id: UUID
    job_id: UUID
    lane: str
    created: bool


def run_many_again(
    connection: Connection, tenant_ids: Sequence[UUID], ids: Sequence[UUID], new_ids: Sequence[UUID], *, by: str
) -> list[Repeated]:
    """Ask these ended jobs anew as the jobs ``new_ids``, all in one transaction. What cannot be is left out."""
    facts = {"tenant_ids": list(tenant_ids), "ids": list(ids), "new_ids": list(new_ids), "by": by}
    with connection.cursor(row_factory=args_row(Repeated)) as cursor:
        return cursor.execute(sql("jobs/jobs", "run_many_again"), facts).fetchall()


def count_by_state(connection: Connection, tenant_id: UUID | None = None) -> dict[str, int]:
    """How many jobs are in each state, live and ended."""
    rows = connection.execute(sql("jobs/jobs", "count_by_state"), {"tenant_id": tenant_id}).fetchall()
    return {row["state"]: row["jobs"] for row in rows}
