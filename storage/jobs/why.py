"""Why does a job wait, and when does it start? One reason, read off the rows as they stand. As headrace_ops.

Index seeks and counts with a bound only: it may be asked while millions of jobs wait.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.jobs.jobs import tenant_of
from storage.jobs.start_forecast import Recent, WaitingWork, starts_in_s

MOST_AHEAD: Final = 10_000
"""So many jobs before it are counted at most."""
LATE_S: Final = 5.0
"""What a scheduler should have done so long ago, s, shows that none does it: each looks several times a second."""
_MOST_OF_RIVALS, _OF_EACH_RIVAL, _MOST_RIVALS = 20_000, 50, 1_000
_WINDOW_S, _MOST_CALLS = 120, 5_000
_IDLE_BEFORE = 0.9  # of the window: when the first call that was seen is younger, nothing ran before it


class Why(StrEnum):
    """The one reason. docs/reference/states.md says what each means."""

    ENDED = "ended"
    RUNNING = "running"
    TENANT_PAUSED = "tenant_paused"
    FEATURE_PAUSED = "feature_paused"
    LANE_PAUSED = "lane_paused"
    ASKED_FOR = "asked_for"
    BACKOFF = "backoff"
    OVER_BUDGET = "over_budget"
    WAITING_FOR_ROOM = "waiting_for_room"
    RATE_LIMITED = "rate_limited"
    PROVIDER_HELD = "provider_held"
    PROVIDER_RATE_LIMITED = "provider_rate_limited"
    WAITING_FOR_SLOT = "waiting_for_slot"
    SCHEMA_WAITS = "schema_waits"
    FEATURE_NOT_HERE = "feature_not_here"
    WAITS = "waits"
    NO_WORKERS = "no_workers"
    WIRE_AWAY = "wire_away"
    NO_SCHEDULER = "no_scheduler"
    SCHEDULER_BEHIND = "scheduler_behind"
    BEHIND_OWN_USER = "behind_own_user"
    BEHIND_OWN_TENANT = "behind_own_tenant"
    BEHIND_OTHERS = "behind_others"
    BUSY = "busy"
    NEXT = "next"


_SCHEDULED: Final = {
    one.value: one
    for one in (
        Why.ASKED_FOR,
        Why.OVER_BUDGET,
        Why.WAITING_FOR_ROOM,
        Why.WAITING_FOR_SLOT,
        Why.RATE_LIMITED,
        Why.PROVIDER_HELD,
        Why.PROVIDER_RATE_LIMITED,
        Why.SCHEMA_WAITS,
        Why.FEATURE_NOT_HERE,
    )
}

_TIMED: Final = (
    Why.ASKED_FOR,
    Why.BACKOFF,
    Why.PROVIDER_HELD,
    Why.PROVIDER_RATE_LIMITED,
    Why.SCHEMA_WAITS,
    Why.FEATURE_NOT_HERE,
)
"""Reasons that only time ends."""

_UP_TO_PEOPLE: Final = (
    Why.TENANT_PAUSED,
    Why.FEATURE_PAUSED,
    Why.LANE_PAUSED,
    Why.NO_WORKERS,
    Why.WIRE_AWAY,
    Why.NO_SCHEDULER,
    Why.SCHEDULER_BEHIND,
)
"""Reasons that only people end, so nobody can tell when."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job waits, and what follows. Times are Postgres's; ``starts_in_s`` is in seconds from ``now``.

    ``state`` and ``detail`` are the job's own words: its state, and the reason that the row has (an error's code, why
    it ended); for ``wire_away``, what the wire says. ``waits_for`` names the cap, rate or slot that has to have room.
    ``until`` is when it can run at the earliest, where the row says so. ``ahead``: jobs of its own tenant that go first
    (of which ``ahead_of_user`` are its own user's), counted up to ``MOST_AHEAD``; ``rivals``: other tenants that have
    work on its lane. ``starts_in_s`` is None where nobody can tell. ``too_late``: its deadline comes before it would
    start, so it will expire.
    """

    job_id: UUID
    tenant_id: UUID
    tenant: str
    feature: str
    lane: str
    state: str
    why: Why
    detail: str | None
    waits_for: str | None
    since: datetime | None
    until: datetime | None
    deadline: datetime | None
    ahead: int
    ahead_of_user: int
    rivals: int
    workers: int
    threads: int
    running: int
    schedulers: int
    starts_in_s: float | None
    too_late: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """Live workers that take work, their threads in all, and how many jobs run."""

    workers: int
    threads: int
    running: int


@dataclass(frozen=True, slots=True)
class Scheduling:
    """Live schedulers, and for how long the first note of the job's tenant has waited for one, s (None: there is none).

    ``wire_error``: why the wire takes no offer; None: it does, or it was not tried.
    """

    schedulers: int
    noted_s: float | None
    wire_error: str | None = None


@dataclass(frozen=True, slots=True)
class Rival:
    """Another tenant with runnable work on the lane; ``more``: it has more jobs than were counted."""

    tenant_id: UUID
    weight: float
    jobs: int
    more: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What one tenant did on a lane lately: jobs begun, those settled, tokens of all, when the first and last began."""

    tenant_id: UUID
    jobs: int
    settled: int
    tokens: float
    first: datetime
    last: datetime


def explain(
    connection: Connection, job_id: UUID, *, silent_s: float, wire_error: str | None = None
) -> Explanation | None:
    """Why a job waits, or None when there is none.

    :param silent_s: after so much silence a worker or a scheduler counts as gone.
    :param wire_error: why the wire takes no offer; None: it does, or it was not tried.
    """
    row = job(connection, job_id)
    if row is None:
        return None
    before, before_of_user, others = 0, 0, list[Rival]()
    crew = fleet(connection, silent_s=silent_s)
    found = replace(scheduling(connection, row["tenant_id"], silent_s=silent_s), wire_error=wire_error)
    starts: float | None = None
    if row["state"] == "queued":
        before, before_of_user = ahead(connection, row)
        others = rivals(connection, row)
        done = recent(connection, row["lane"])
        if row["full_cap"] is None:
            starts = _forecast(row, before, others, crew, done)
        elif row["full_cap"] == "lane":
            starts = _under_cap(row, before, done)
    why = _reason(row, before, before_of_user, others, crew, found)
    if why in _UP_TO_PEOPLE:
        starts = None
    if row["state"] == "scheduled" and why in _TIMED and found.schedulers:
        starts = max((row["run_at"] - row["now"]).total_seconds(), 0.0)
    earliest = row["now"] + timedelta(seconds=starts) if starts is not None else row["run_at"]
    waits = row["state"] in ("queued", "scheduled")
    return Explanation(
        job_id=row["id"],
        tenant_id=row["tenant_id"],
        tenant=row["tenant"],
        feature=row["feature"],
        lane=row["lane"],
        state=row["state"],
        why=why,
        detail=wire_error if why is Why.WIRE_AWAY else row["reason"],
        waits_for=_waits_for(row, why),
        since=_since(row, why),
        until=row["run_at"],
        deadline=row["deadline"],
        ahead=before,
        ahead_of_user=before_of_user,
        rivals=len(others),
        workers=crew.workers,
        threads=crew.threads,
        running=crew.running,
        schedulers=found.schedulers,
        starts_in_s=starts,
        too_late=bool(waits and earliest and row["deadline"] and row["deadline"] <= earliest),
        now=row["now"],
    )


def job(connection: Connection, job_id: UUID) -> dict[str, Any] | None:
    """The job's row with what could hold it back, or None."""
    whose = tenant_of(connection, job_id)
    return connection.execute(sql("jobs/why", "job"), {"job_id": job_id, "tenant_id": whose}).fetchone()


def ahead(connection: Connection, row: dict[str, Any]) -> tuple[int, int]:
    """Jobs of its tenant and of its user that go before a queued one."""
    facts = {name: row[name] for name in ("tenant_id", "lane", "feature", "rank", "user_id")}
    found = connection.execute(sql("jobs/why", "ahead"), {**facts, "job_id": row["id"], "most": MOST_AHEAD}).fetchone()
    assert found is not None, "two counts are a row"
    return found["of_tenant"], found["of_user"]


def fleet(connection: Connection, *, silent_s: float) -> FleetLoad:
    """The live workers that take work."""
    row = connection.execute(sql("jobs/why", "fleet"), {"silent_s": silent_s}).fetchone()
    assert row is not None, "an aggregate returns a row"
    return FleetLoad(**row)


def scheduling(connection: Connection, tenant_id: UUID, *, silent_s: float) -> Scheduling:
    """The live schedulers, and what they owe a tenant."""
    facts = {"tenant_id": tenant_id, "silent_s": silent_s}
    row = connection.execute(sql("jobs/why", "scheduling"), facts).fetchone()
    assert row is not None, "a select without a table returns a row"
    return Scheduling(**row)


def rivals(connection: Connection, row: dict[str, Any]) -> list[Rival]:
    """The other tenants that have work on its lane."""
    facts = {
        **{name: row[name] for name in ("tenant_id", "lane")},
        "tenants": _MOST_RIVALS,
        "most": _MOST_OF_RIVALS,
        "of_each": _OF_EACH_RIVAL,
    }
    return [Rival(**one) for one in connection.execute(sql("jobs/why", "rivals"), facts).fetchall()]


def recent(connection: Connection, lane: str) -> list[Done]:
    """What each tenant did on a lane in the last two minutes."""
    facts = {"lane": lane, "window_s": _WINDOW_S, "most": _MOST_CALLS}
    return [Done(**one) for one in connection.execute(sql("jobs/why", "recent"), facts).fetchall()]


def _under_cap(row: dict[str, Any], before: int, done: Sequence[Done]) -> float | None:
    """A tenant with all its slots taken goes on at the pace that its jobs have had: nobody else is in its way."""
    of_tenant = next((one for one in done if one.tenant_id == row["tenant_id"]), None)
    if of_tenant is None or of_tenant.settled == 0:
        return None
    span_s = (row["now"] - of_tenant.first).total_seconds()
    return (before + 1) * float(span_s) / of_tenant.settled


def _forecast(
    row: dict[str, Any], before: int, others: Sequence[Rival], crew: FleetLoad, done: Sequence[Done]
) -> float | None:
    jobs = sum(one.jobs for one in done)
    tokens = sum(one.tokens for one in done)
    usual = tokens / jobs if jobs else float(row["estimated_tokens"])
    of_tenant = {one.tenant_id: one.tokens / one.jobs for one in done}
    first = min((one.first for one in done), default=row["now"])
    span_s = (row["now"] - first).total_seconds()
    return starts_in_s(
        ahead=before,
        job_tokens=of_tenant.get(row["tenant_id"], usual),
        weight=row["weight"],
        rivals=[
            WaitingWork(
                one.weight,
                math.inf if one.more else one.jobs * of_tenant.get(one.tenant_id, usual),
            )
            for one in others
        ],
        recent=Recent(
            jobs=jobs,
            settled=sum(one.settled for one in done),
            tokens=tokens,
            span_s=span_s,
            from_idle=jobs < _MOST_CALLS and span_s < _IDLE_BEFORE * _WINDOW_S,
        ),
        free_threads=max(crew.threads - crew.running, 0),
    )


def _reason(
    row: dict[str, Any],
    before: int,
    before_of_user: int,
    others: Sequence[Rival],
    crew: FleetLoad,
    found: Scheduling,
) -> Why:
    """What has to change first. What people have to do comes before what time or others bring about."""
    if row["state"] == "running":
        return Why.RUNNING
    if row["state"] not in ("queued", "scheduled"):
        return Why.ENDED
    for kind, why in (("tenant", Why.TENANT_PAUSED), ("lane", Why.LANE_PAUSED), ("feature", Why.FEATURE_PAUSED)):
        if row[f"{kind}_paused_at"] is not None:
            return why
    unseen = _unseen(row, crew, found)
    if unseen is not None:
        return unseen
    if row["state"] == "scheduled":
        known = _SCHEDULED.get(row["reason"])
        return known or (Why.WAITS if row["waits_for"] is not None else Why.BACKOFF)
    if row["full_cap"] is not None:
        return Why.WAITING_FOR_SLOT
    if before_of_user > 0:
        return Why.BEHIND_OWN_USER
    if before > 0:
        return Why.BEHIND_OWN_TENANT
    if crew.running < crew.threads:
        return Why.NEXT
    return Why.BEHIND_OTHERS if others else Why.BUSY


def _unseen(row: dict[str, Any], crew: FleetLoad, found: Scheduling) -> Why | None:
    """Whether something is missing that has to see a waiting job before it can start."""
    queued = row["state"] == "queued"
    if queued and crew.workers == 0:
        return Why.NO_WORKERS
    if queued and found.wire_error is not None:
        return Why.WIRE_AWAY
    owed_s = found.noted_s
    if not queued:
        by_time = row["waits_for"] is None
        owed_s = (row["now"] - row["run_at"]).total_seconds() if by_time else None
        if owed_s is not None and owed_s < 0:
            return None  # its time has not come
    if found.schedulers == 0:
        return Why.NO_SCHEDULER
    return Why.SCHEDULER_BEHIND if owed_s is not None and owed_s > LATE_S else None


def _waits_for(row: dict[str, Any], why: Why) -> str | None:
    """What has to have room: under a cap of a lane or a feature jobs stay queued, so their rows do not say it."""
    if row["state"] == "scheduled":
        return str(row["waits_for"]) if row["waits_for"] is not None else None
    return f"slot:{row['full_cap']}:{row[row['full_cap']]}" if why == Why.WAITING_FOR_SLOT else None


def _since(row: dict[str, Any], why: Why) -> datetime | None:
    """Since when the reason holds, where a row says so."""
    found: datetime | None = {
        Why.TENANT_PAUSED: row["tenant_paused_at"],
        Why.FEATURE_PAUSED: row["feature_paused_at"],
        Why.LANE_PAUSED: row["lane_paused_at"],
        Why.RUNNING: row["claimed_at"],
        Why.ENDED: row["ended_at"],
    }.get(why)
    return found
