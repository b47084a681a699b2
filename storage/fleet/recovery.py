"""What the scheduler asks of Postgres, as headrace_ops: due jobs, notes, lost workers, expiry, missing turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from storage.db.connect import Connection
from storage.db.reading import as_row_of
from storage.db.statements import sql
from storage.fleet.chores import run_bounded

Turns = Mapping[str, Mapping[UUID, int]]
"""lane → tenant → how many turns."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Tenants for whom a chore has something to do, in the order of their ids.

    ``looked_to`` is the last that was looked at; None: there are no more.
    """

    tenants: Sequence[UUID]
    looked_to: UUID | None


@dataclass(frozen=True, slots=True)
class Released:
    """What was let in from lists, as turns to offer, and who had a turn: where in its lists it goes on (None: done)."""

    turns: Turns
    upto: Mapping[UUID, str | None]


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """A job that was taken from a lost worker: queued again, or ended (``failed``: poison or on_unknown).

    ``set_aside``: it could not be reclaimed. ``reason``: why it has failed.
    """

    tenant_id: UUID
    lane: str
    job_id: UUID
    state: str
    reason: str | None = None


def due_tenants(connection: Connection, *, after: UUID, look: int, limit: int) -> Looked:
    """Whose scheduled jobs are due, of those after ``after`` by id."""
    facts = {"after": after, "look": look, "limit": limit}
    return Looked(**run_bounded(connection, sql("fleet/recovery", "due_tenants"), facts)[0])


def release_due(connection: Connection, *, limit: int = 500, tenants: Sequence[UUID] | None = None) -> Turns:
    """Queue the scheduled jobs whose time has come: the oldest, or an equal share of some tenants; the turns."""
    facts = {"limit": limit, "tenants": _listed(tenants)}
    return by_lane(run_bounded(connection, sql("fleet/recovery", "release_due"), facts))


def waiting_tenants(connection: Connection, *, after: UUID, limit: int) -> Looked:
    """Who has jobs that wait for room, of those after ``after`` by id."""
    return Looked(
        **run_bounded(connection, sql("fleet/recovery", "waiting_tenants"), {"after": after, "limit": limit})[0]
    )


def release_for_money(
    connection: Connection,
    turn: Mapping[UUID, str | None],
    *,
    limit: int = 500,
    lists: int = 500,
    within_s: float = 0.25,
) -> Released:
    """Queue the jobs that waited for room under a cap and fit now.

    :param turn: whose turn it is, in order, and where in its lists (None: at the first).
    :param limit: most jobs, and ``lists`` most lists that are looked at: an equal share of each tenant, two at least.
    """
    facts = _facts_of(turn) | {"limit": limit, "lists": lists, "within_s": within_s}
    return _released(run_bounded(connection, sql("fleet/recovery", "release_for_money"), facts))


def release_for_rates(connection: Connection, lists: Sequence[tuple[UUID, str, int]]) -> Turns:
    """Queue the first of lists that wait for a rate (tenant, list, how many), less those on their way; the turns."""
    tenants, names, ns = zip(*lists, strict=True)
    facts = {"tenants": list(tenants), "lists": list(names), "ns": list(ns)}
    return by_lane(run_bounded(connection, sql("fleet/recovery", "release_for_rates"), facts))


def release_for_slots(
    connection: Connection,
    turn: Mapping[UUID, str | None],
    *,
    limit: int = 500,
    lists: int = 500,
    within_s: float = 0.25,
) -> Released:
    """Queue the jobs that waited for a slot and find one free. See :func:`release_for_money`."""
    facts = _facts_of(turn) | {"limit": limit, "lists": lists, "within_s": within_s}
    return _released(run_bounded(connection, sql("fleet/recovery", "release_for_slots"), facts))


def lend_slots(connection: Connection, *, silent_s: float, turns_per_tenant: int) -> Turns:
    """Lend idle threads to the caps that may be passed, reclaim what others need; the turns to offer."""
    return by_lane(run_bounded(connection, sql("fleet/recovery", "lend_slots"), [silent_s, turns_per_tenant]))


def waking_tenants(connection: Connection, *, after: UUID, limit: int) -> Looked:
    """Who has left notes, of those after ``after`` by id."""
    return Looked(
        **run_bounded(connection, sql("fleet/recovery", "waking_tenants"), {"after": after, "limit": limit})[0]
    )


def drain_wakes(connection: Connection, *, limit: int = 5000, tenants: Sequence[UUID] | None = None) -> Turns:
    """Take the notes of foreign transactions: the oldest, or an equal share of some tenants; the turns to offer."""
    facts = {"limit": limit, "tenants": _listed(tenants)}
    return by_lane(run_bounded(connection, sql("fleet/recovery", "drain_wakes"), facts))


def listen(connection: Connection) -> None:
    """Return when Postgres answers and takes writes, as a heartbeat would."""
    run_bounded(connection, sql("fleet/recovery", "listen"), {})


def reclaim(connection: Connection, *, silent_s: float, max_deaths: int) -> Reclaimed | None:
    """Take one job back from a lost worker, or None when there is none."""
    rows = run_bounded(connection, sql("fleet/recovery", "reclaim"), [silent_s, max_deaths])
    return as_row_of(Reclaimed, rows[0]) if rows else None


def expiring_tenants(connection: Connection, *, after: UUID, look: int, limit: int) -> Looked:
    """Whose waiting jobs are past their deadline, of those after ``after`` by id."""
    facts = {"after": after, "look": look, "limit": limit}
    return Looked(**run_bounded(connection, sql("fleet/recovery", "expiring_tenants"), facts)[0])


def expire(connection: Connection, *, limit: int = 500, tenants: Sequence[UUID] | None = None) -> int:
    """End waiting jobs past their deadline, the earliest or an equal share of some tenants; how many."""
    (row,) = run_bounded(connection, sql("fleet/recovery", "expire"), {"limit": limit, "tenants": _listed(tenants)})
    return int(row["expired"])


def turns_wanted(connection: Connection, *, turns_per_tenant: int) -> Turns:
    """How many turns each tenant should have on each lane by what is queued now: min(queued, W, free slots
    of its lane's cap).

    Nothing while another sweeper asks: one at a time is enough.
    """
    return by_lane(run_bounded(connection, sql("fleet/recovery", "turns_wanted"), [turns_per_tenant]))


def without_claim(connection: Connection) -> set[tuple[str, UUID]]:
    """(lane, tenant) pairs with queued work of which nothing runs now."""
    rows = run_bounded(connection, sql("fleet/recovery", "without_claim"), {})
    return {(row["lane"], row["tenant_id"]) for row in rows}


@dataclass(frozen=True, slots=True)
class PartitionPass:
    """What a look at the partitions of the months ahead came to.

    ``outcome`` is ``made`` (one was), ``busy`` (a transaction is in the way: try again later), ``taken`` (rows of that
    time lie in the default partition), ``large`` (the default partition is too large to attach one beside it), or None
    when all are there. ``missing`` is how many are still missing.
    """

    outcome: str | None
    missing: int


def ensure_partitions(connection: Connection) -> PartitionPass:
    """Make the earliest partition that is missing. Call it again, in a transaction of its own, while one was made."""
    (row,) = run_bounded(connection, sql("fleet/recovery", "ensure_partitions"), {}, quick=False)
    return PartitionPass(**row)


def analyze_grown(connection: Connection) -> int:
    """Let the planner know of tables that have grown fourfold; how many there were."""
    (row,) = run_bounded(connection, sql("fleet/recovery", "analyze_grown"), {}, quick=False)
    return int(row["analyzed"])


def ended_outweigh(connection: Connection, *, least: int = 10_000) -> bool:
    """Whether what has ended weighs on the queue's indexes: ``least`` rows, and a quarter of what is queued."""
    (row,) = run_bounded(connection, sql("fleet/recovery", "ended_outweigh"), {"least": least})
    return bool(row["outweigh"])


def vacuum_queue(connection: Connection) -> None:
    """Clear the queue of it. Not within a transaction."""
    connection.execute(sql("fleet/recovery", "vacuum_queue"), prepare=False)


def by_lane(rows: Iterable[dict[str, Any]]) -> Turns:
    """Rows of ``tenant_id``, ``lane`` and ``turns`` as turns to offer."""
    found: dict[str, dict[UUID, int]] = defaultdict(dict)
    for row in rows:
        found[row["lane"]][row["tenant_id"]] = found[row["lane"]].get(row["tenant_id"], 0) + row["turns"]
    return found


def _released(rows: Sequence[dict[str, Any]]) -> Released:
    turns = by_lane(row for row in rows if row["lane"] is not None)
    return Released(turns, {row["tenant_id"]: row["upto"] for row in rows if row["lane"] is None})


def _facts_of(turn: Mapping[UUID, str | None]) -> dict[str, Any]:
    return {"tenants": list(turn), "before": list(turn.values())}


def _listed(tenants: Sequence[UUID] | None) -> list[UUID] | None:
    return None if tenants is None else list(tenants)
